#include "chat/token_reader.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tokenizer/synthetic.h"

namespace fathom::chat {
namespace {

using tokenizer::Tokenizer;

class TokenReaderTest : public testing::Test {
 protected:
  const Tokenizer tokenizer_ =
      Tokenizer::FromJson(tokenizer::SyntheticTokenizerJson(300), "synthetic").value();

  ParsedMessage Read(TokenReader& reader, std::string_view text) {
    ParsedMessage message;
    for (const TokenId token : tokenizer_.Encode(text)) {
      for (const Delta& delta : reader.Add(token)) Append(message, delta);
      if (reader.is_done()) break;
    }
    const auto finished = reader.Finish(StopReason::kStop);
    for (const Delta& delta : finished.deltas) Append(message, delta);
    message.finish_reason = finished.reason;
    return message;
  }
};

TEST_F(TokenReaderTest, CountsReasoningWithoutItsDelimiters) {
  TokenReader reader(tokenizer_, {.starts_in_reasoning = true}, false);
  const ParsedMessage message = Read(reader, "abc</think>hello");
  EXPECT_EQ(message.reasoning_content, "abc");
  EXPECT_EQ(message.content, "hello");
  EXPECT_EQ(reader.reasoning_tokens(), 3);
}

TEST_F(TokenReaderTest, NamesTheStopStringThatWasFound) {
  TokenReader reader(tokenizer_, {.starts_in_reasoning = false, .stop_strings = {"xx", "lo"}},
                     false);
  EXPECT_EQ(Read(reader, "hello there").content, "hel");
  EXPECT_TRUE(reader.stop_string_hit());
  EXPECT_EQ(reader.stop_string(), "lo");
}

TEST_F(TokenReaderTest, RawTextKeepsItsTags) {
  TokenReader reader(tokenizer_, {.stop_strings = {"END"}}, true);
  EXPECT_EQ(Read(reader, "a</think>b END c").content, "a</think>b ");
  EXPECT_EQ(reader.stop_string(), "END");
  EXPECT_EQ(reader.reasoning_tokens(), 0);
}

TEST_F(TokenReaderTest, SaysThatACallWasCutOff) {
  const std::string text =
      "\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"f\">\n<｜DSML｜parameter name=\"a\" "
      "string=\"true\">text</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>";
  const std::vector<TokenId> tokens = tokenizer_.Encode(text);
  int cut_calls = 0;
  for (size_t count = 0; count <= tokens.size(); ++count) {
    TokenReader reader(tokenizer_, {.starts_in_reasoning = false}, false);
    ParsedMessage message;
    for (size_t i = 0; i < count; ++i)
      for (const Delta& delta : reader.Add(tokens[i])) Append(message, delta);
    const auto finished = reader.Finish(StopReason::kLength);
    for (const Delta& delta : finished.deltas) Append(message, delta);
    const bool is_open =
        !message.tool_calls.empty() && message.tool_calls[0].arguments != R"({"a": "text"})";
    EXPECT_EQ(finished.has_partial_call, is_open) << count;
    cut_calls += finished.has_partial_call;
  }
  EXPECT_GT(cut_calls, 10);
}

TEST_F(TokenReaderTest, AnUnknownIdShowsAsReplacement) {
  TokenReader reader(tokenizer_, {.starts_in_reasoning = false}, false);
  const std::vector<Delta> deltas = reader.Add(1 << 20);
  ASSERT_EQ(deltas.size(), 1u);
  EXPECT_EQ(deltas[0].text, "\xEF\xBF\xBD");
}

TEST_F(TokenReaderTest, StopTokensAreSortedAndOnce) {
  const std::vector<TokenId> stops = StopTokens(tokenizer_, {7, 1});
  EXPECT_TRUE(std::is_sorted(stops.begin(), stops.end()));
  EXPECT_EQ(std::count(stops.begin(), stops.end(), 1), 1);
  EXPECT_EQ(std::count(stops.begin(), stops.end(), *tokenizer_.FindToken("<｜User｜>")), 1);
}

}  // namespace
}  // namespace fathom::chat
