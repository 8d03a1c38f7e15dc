// Structured output against an independent judge: whatever is written under the masks of a schema
// is a valid document by valijson, and what is written under those of a tool block parses into
// calls whose arguments are. The schemas are testdata/schemas/schemas.jsonl, each with documents to
// be refused.
#include <gtest/gtest.h>

#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <valijson/adapters/nlohmann_json_adapter.hpp>
#include <valijson/schema.hpp>
#include <valijson/schema_parser.hpp>
#include <valijson/validator.hpp>
#include <vector>

#include "base/json.h"
#include "chat/output_parser.h"
#include "grammar/constraint.h"
#include "grammar/matches_testing.h"
#include "tests/schemas/walk.h"
#include "tokenizer/synthetic.h"
#include "tokenizer/tokenizer.h"

namespace fathom {
namespace {

struct Case {
  std::string group;
  Json schema;
  std::vector<std::string> refused;
};

std::vector<Case> Cases() {
  std::ifstream file(FATHOM_SOURCE_DIR "/testdata/schemas/schemas.jsonl");
  std::vector<Case> cases;
  for (std::string line; std::getline(file, line);) {
    const Json json = ParseJson(line).value();
    Case entry{json.Find("group")->string(), *json.Find("schema"), {}};
    for (const Json& text : json.Find("refused")->array()) entry.refused.push_back(text.string());
    cases.push_back(std::move(entry));
  }
  return cases;
}

// valijson knows $defs under its older name only.
class Judge {
 public:
  explicit Judge(const Json& schema) : text_(WriteJson(schema)) {
    document_ = nlohmann::json::parse(text_);
    valijson::SchemaParser parser(valijson::SchemaParser::kDraft7);
    parser.populateSchema(valijson::adapters::NlohmannJsonAdapter(document_), schema_);
  }
  bool IsValid(const std::string& text) const {
    const nlohmann::json value = nlohmann::json::parse(text, nullptr, false);
    if (value.is_discarded()) return false;
    valijson::Validator validator(valijson::Validator::kStrongTypes);
    return validator.validate(schema_, valijson::adapters::NlohmannJsonAdapter(value), nullptr);
  }

 private:
  const std::string text_;
  nlohmann::json document_;
  valijson::Schema schema_;
};

struct Words {
  explicit Words(Result<tokenizer::Tokenizer> loaded)
      : tokenizer(std::move(loaded).value()),
        vocabulary(std::make_shared<grammar::Vocabulary>(tokenizer, tokenizer.vocab_size())) {}

  const tokenizer::Tokenizer tokenizer;
  const std::shared_ptr<const grammar::Vocabulary> vocabulary;
};

const Words& Nano() {
  static const Words words(
      tokenizer::Tokenizer::Load(FATHOM_SOURCE_DIR "/models/nano/tokenizer.json"));
  return words;
}
// The same bytes one by one, and no token for the mark.
const Words& Bytes() {
  static const Words words(tokenizer::Tokenizer::FromJson(
      tokenizer::SyntheticTokenizerJson(tokenizer::kSyntheticVocabMin), "bytes"));
  return words;
}

TEST(SchemasTest, ThereAreTwoHundred) { EXPECT_GE(Cases().size(), 200u); }

TEST(SchemasTest, EveryAnswerIsValid) {
  std::mt19937_64 random(4);
  int64_t finished = 0;
  int64_t begun = 0;
  for (const Case& entry : Cases()) {
    SCOPED_TRACE(WriteJson(entry.schema));
    const auto grammar = grammar::CompileSchema(entry.schema);
    ASSERT_TRUE(grammar.ok()) << grammar.error().message;
    const Judge judge(entry.schema);
    for (const Words* words : {&Nano(), &Bytes()}) {
      for (int i = 0; i < 12; ++i, ++begun) {
        const auto text =
            RandomAnswer(words->tokenizer, words->vocabulary, grammar.value(), random, 600);
        if (!text) continue;
        ++finished;
        EXPECT_TRUE(judge.IsValid(*text)) << *text;
        EXPECT_TRUE(ParseJson(*text).ok()) << *text;
        EXPECT_TRUE(grammar::Matches(grammar.value(), *text)) << *text;
      }
    }
  }
  EXPECT_GT(finished, begun * 9 / 10) << "of " << begun;
}

TEST(SchemasTest, InvalidDocumentsAreRefused) {
  for (const Case& entry : Cases()) {
    SCOPED_TRACE(WriteJson(entry.schema));
    const auto grammar = grammar::CompileSchema(entry.schema);
    ASSERT_TRUE(grammar.ok()) << grammar.error().message;
    EXPECT_FALSE(entry.refused.empty());
    for (const std::string& text : entry.refused) {
      EXPECT_FALSE(grammar::Matches(grammar.value(), text)) << text;
    }
  }
}

// Each schema becomes the only parameter of a tool.
TEST(SchemasTest, EveryCallIsValid) {
  std::mt19937_64 random(5);
  int64_t finished = 0;
  int64_t begun = 0;
  for (const Case& entry : Cases()) {
    if (entry.schema.Find("$ref") != nullptr || entry.group == "recursion") continue;
    SCOPED_TRACE(WriteJson(entry.schema));
    Json parameters(Json::Object{{"type", "object"}});
    parameters.Set("properties", Json(Json::Object{{"p", entry.schema}}));
    parameters.Set("required", Json(Json::Array{Json("p")}));
    for (const char* name : {"$defs", "definitions"}) {
      if (const Json* defs = entry.schema.Find(name)) parameters.Set(name, *defs);
    }
    const Judge judge(parameters);
    const auto grammar = grammar::CompileTools(
        {.tools = {{"f", parameters, true}}, .is_required = true, .is_parallel = false});
    ASSERT_TRUE(grammar.ok()) << grammar.error().message;
    for (const Words* words : {&Nano(), &Bytes()}) {
      ++begun;
      const auto text =
          RandomAnswer(words->tokenizer, words->vocabulary, grammar.value(), random, 900);
      if (!text) continue;
      ++finished;
      const chat::ParsedMessage message =
          chat::ParseCompletion(*text, {.starts_in_reasoning = false}, chat::StopReason::kStop);
      EXPECT_EQ(message.content, "") << *text;
      ASSERT_EQ(message.tool_calls.size(), 1u) << *text;
      EXPECT_EQ(message.tool_calls[0].name, "f");
      EXPECT_TRUE(judge.IsValid(message.tool_calls[0].arguments))
          << *text << "\n"
          << message.tool_calls[0].arguments;
    }
  }
  EXPECT_GT(finished, begun * 8 / 10) << "of " << begun;
}

}  // namespace
}  // namespace fathom
