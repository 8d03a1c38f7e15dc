// Every recorded string and id sequence (testdata/tokenizer/README.md), and the prompts of the
// bundled model.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "tokenizer/tokenizer.h"

namespace fathom::tokenizer {
namespace {

Tokenizer LoadFrom(const std::string& path) {
  auto loaded = Tokenizer::Load(FATHOM_SOURCE_DIR "/" + path);
  EXPECT_TRUE(loaded.ok()) << (loaded.ok() ? "" : loaded.error().message);
  return std::move(loaded).value();
}

std::vector<Json> Records(const std::string& path) {
  const std::string lines = ReadFile(FATHOM_SOURCE_DIR "/" + path).value();
  std::vector<Json> records;
  for (size_t begin = 0; begin < lines.size();) {
    const size_t end = std::min(lines.find('\n', begin), lines.size());
    records.push_back(ParseJson(std::string_view(lines).substr(begin, end - begin)).value());
    begin = end + 1;
  }
  return records;
}

const std::string& Text(const Json& record, std::string_view name) {
  return record.Find(name)->string();
}

std::vector<TokenId> Ids(const Json& record, std::string_view name) {
  std::vector<TokenId> ids;
  for (const Json& id : record.Find(name)->array())
    ids.push_back(static_cast<TokenId>(id.ToInt64().value()));
  return ids;
}

std::string Streamed(const Tokenizer& tokenizer, const std::vector<TokenId>& ids,
                     const DecodeOptions& options) {
  StreamDecoder decoder(tokenizer, options);
  std::string out;
  for (const TokenId id : ids) {
    const std::string part = decoder.Add(id).value();
    EXPECT_TRUE(text::IsValidUtf8(part));
    out += part;
  }
  return out + decoder.Flush();
}

TEST(TokenizerGolden, DeepSeekBothWays) {
  const Tokenizer tokenizer = LoadFrom("testdata/tokenizer/deepseek/tokenizer.json");
  EXPECT_EQ(tokenizer.vocab_size(), 129280);
  for (TokenId id = 0; id < 129280; ++id) ASSERT_TRUE(tokenizer.IsToken(id)) << id;

  const std::vector<Json> cases = Records("testdata/tokenizer/cases.jsonl");
  EXPECT_EQ(cases.size(), 528u);
  for (const Json& record : cases) {
    const std::vector<TokenId> ids = Ids(record, "ids");
    EXPECT_EQ(tokenizer.Encode(Text(record, "text")), ids) << Text(record, "id");
    EXPECT_EQ(tokenizer.Decode(ids).value(), Text(record, "decoded")) << Text(record, "id");
    EXPECT_EQ(Streamed(tokenizer, ids, {}), Text(record, "decoded")) << Text(record, "id");
    // The mode without added tokens says the same text with other tokens.
    const auto plain = tokenizer.Encode(Text(record, "text"), {.match_added_tokens = false});
    EXPECT_EQ(tokenizer.Decode(plain).value(), Text(record, "text")) << Text(record, "id");
    for (const TokenId id : plain) EXPECT_FALSE(tokenizer.IsAdded(id)) << Text(record, "id");
  }

  const std::vector<Json> sequences = Records("testdata/tokenizer/decode.jsonl");
  EXPECT_EQ(sequences.size(), 50u);
  for (const Json& record : sequences) {
    const std::vector<TokenId> ids = Ids(record, "ids");
    EXPECT_EQ(tokenizer.Decode(ids).value(), Text(record, "text")) << Text(record, "id");
    EXPECT_EQ(tokenizer.Decode(ids, {.skip_special = true}).value(),
              Text(record, "text_skip_special"))
        << Text(record, "id");
    EXPECT_EQ(Streamed(tokenizer, ids, {}), Text(record, "text")) << Text(record, "id");
    EXPECT_EQ(Streamed(tokenizer, ids, {.skip_special = true}), Text(record, "text_skip_special"))
        << Text(record, "id");
    if (const Json* hex = record.Find("bytes_hex")) {
      const std::string bytes = tokenizer.DecodeBytes(ids).value();
      std::string found;
      for (const char byte : bytes) found += fmt::format("{:02x}", static_cast<uint8_t>(byte));
      EXPECT_EQ(found, hex->string()) << Text(record, "id");
    }
  }
}

TEST(TokenizerGolden, BundledModelPromptsAndOutputs) {
  const Tokenizer tokenizer = LoadFrom("models/nano/tokenizer.json");
  const std::vector<Json> conversations = Records("models/nano/conversations.jsonl");
  EXPECT_EQ(conversations.size(), 39u);
  for (const Json& record : conversations) {
    EXPECT_EQ(tokenizer.Encode(Text(record, "prompt")), Ids(record, "prompt_ids"))
        << Text(record, "id");
    EXPECT_EQ(tokenizer.Decode(Ids(record, "output_ids")).value(), Text(record, "output_text"))
        << Text(record, "id");
  }
}

}  // namespace
}  // namespace fathom::tokenizer
