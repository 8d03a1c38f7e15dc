// Masks of answers over a real vocabulary of bytes and pieces: reasoning, budgets, stop tokens, the
// mark of tool calls; and which blocks of calls the grammars of tools take.
#include "grammar/constraint.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "base/json.h"
#include "grammar/matches_testing.h"
#include "tokenizer/synthetic.h"

namespace fathom::grammar {
namespace {

constexpr TokenId kStop = 1;

// All bytes, and the control tokens of the chat format.
const tokenizer::Tokenizer& Tokens() {
  static const tokenizer::Tokenizer tokenizer =
      tokenizer::Tokenizer::FromJson(tokenizer::SyntheticTokenizerJson(400), "synthetic").value();
  return tokenizer;
}
std::shared_ptr<const Vocabulary> Shared() {
  static const auto vocabulary = std::make_shared<Vocabulary>(Tokens(), Tokens().vocab_size());
  return vocabulary;
}

bool IsAllowed(AnswerConstraint& constraint, TokenId token) {
  const std::span<const uint64_t> mask = constraint.Allowed();
  return mask.empty() || (mask[static_cast<size_t>(token) / 64] >> (token % 64) & 1) != 0;
}

TokenId Named(std::string_view content) { return Tokens().FindToken(content).value(); }

// Takes the text token by token, each of which must be allowed.
void Write(AnswerConstraint& constraint, std::string_view text) {
  for (const TokenId token : Tokens().Encode(text)) {
    EXPECT_TRUE(IsAllowed(constraint, token)) << Tokens().TokenText(token) << " of " << text;
    constraint.Accept(token);
  }
}
bool MayWrite(AnswerConstraint& constraint, std::string_view text) {
  return IsAllowed(constraint, Tokens().Encode(text).front());
}

std::shared_ptr<const Grammar> Schema(std::string_view schema) {
  return CompileSchema(ParseJson(schema).value()).value();
}

TEST(AnswerConstraintTest, FreeAnswersHaveNoMask) {
  AnswerConstraint constraint(Shared(), {.grammar = nullptr, .stop_tokens = {kStop}});
  EXPECT_TRUE(constraint.Allowed().empty());
}

TEST(AnswerConstraintTest, StopTokensWaitForTheLeastNumber) {
  AnswerConstraint constraint(Shared(),
                              {.grammar = nullptr, .stop_tokens = {kStop}, .min_tokens = 2});
  EXPECT_FALSE(IsAllowed(constraint, kStop));
  Write(constraint, "a");
  EXPECT_FALSE(IsAllowed(constraint, kStop));
  Write(constraint, "b");
  EXPECT_TRUE(IsAllowed(constraint, kStop));
}

TEST(AnswerConstraintTest, DocumentsEndWhereTheyAreComplete) {
  AnswerConstraint constraint(
      Shared(), {.grammar = Schema(R"({"type":"integer","maximum":99})"), .stop_tokens = {kStop}});
  EXPECT_FALSE(IsAllowed(constraint, kStop));
  EXPECT_FALSE(MayWrite(constraint, "a"));
  Write(constraint, "4");
  EXPECT_TRUE(IsAllowed(constraint, kStop));
  Write(constraint, "2");
  EXPECT_FALSE(MayWrite(constraint, "0"));
  EXPECT_TRUE(IsAllowed(constraint, kStop));
}

TEST(AnswerConstraintTest, ControlTokensAreNoPartOfAnAnswer) {
  AnswerConstraint constraint(Shared(),
                              {.grammar = Schema(R"({"type":"string"})"), .stop_tokens = {kStop}});
  Write(constraint, "\"");
  for (const char* control : {"<think>", "</think>", "｜DSML｜", "<｜User｜>"}) {
    EXPECT_FALSE(IsAllowed(constraint, Named(control))) << control;
  }
  EXPECT_FALSE(IsAllowed(constraint, kStop));
}

TEST(AnswerConstraintTest, ReasoningIsFreeAndClosesFirst) {
  AnswerConstraint constraint(
      Shared(),
      {.grammar = Schema(R"({"const":1})"), .starts_in_reasoning = true, .stop_tokens = {kStop}});
  Write(constraint, "any [text");
  EXPECT_FALSE(IsAllowed(constraint, kStop));
  EXPECT_FALSE(IsAllowed(constraint, Named("｜DSML｜")));
  Write(constraint, "</think>");
  EXPECT_FALSE(MayWrite(constraint, "a"));
  Write(constraint, "1");
  EXPECT_TRUE(IsAllowed(constraint, kStop));
}

TEST(AnswerConstraintTest, ReasoningHasABudget) {
  AnswerConstraint constraint(Shared(), {.grammar = nullptr,
                                         .starts_in_reasoning = true,
                                         .reasoning_tokens_max = 2,
                                         .stop_tokens = {kStop}});
  Write(constraint, "ab");
  EXPECT_FALSE(MayWrite(constraint, "c"));
  EXPECT_FALSE(IsAllowed(constraint, kStop));
  Write(constraint, "</think>");
  EXPECT_TRUE(constraint.Allowed().empty());
}

TEST(AnswerConstraintTest, WhatWasNotAllowedEndsTheConstraint) {
  AnswerConstraint constraint(Shared(),
                              {.grammar = Schema(R"({"const":1})"), .stop_tokens = {kStop}});
  constraint.Accept(Tokens().Encode("x").front());
  EXPECT_TRUE(constraint.Allowed().empty());
}

TEST(AnswerConstraintTest, LongStringsKeepTheirLimit) {
  AnswerConstraint constraint(
      Shared(), {.grammar = Schema(R"({"type":"string","minLength":250,"maxLength":300})"),
                 .stop_tokens = {kStop}});
  Write(constraint, "\"" + std::string(249, 'a'));
  EXPECT_FALSE(MayWrite(constraint, "\""));
  Write(constraint, std::string(51, 'b'));
  EXPECT_FALSE(MayWrite(constraint, "c"));
  Write(constraint, "\"");
  EXPECT_TRUE(IsAllowed(constraint, kStop));
}

// After "<" the mark of tool calls, spelled byte by byte, stops before its last.
void SpellTheMark(AnswerConstraint& constraint) {
  const std::string_view mark = "｜DSML｜";
  for (size_t i = 0; i + 1 < mark.size(); ++i) {
    const TokenId token = Tokens().Encode(mark.substr(i, 1), {.match_added_tokens = false}).front();
    EXPECT_TRUE(IsAllowed(constraint, token)) << i;
    constraint.Accept(token);
  }
  EXPECT_FALSE(IsAllowed(
      constraint,
      Tokens().Encode(mark.substr(mark.size() - 1), {.match_added_tokens = false}).front()));
  Write(constraint, "\xBE");
}

TEST(AnswerConstraintTest, NoBlockOpensInReasoningBeforeABoundAnswer) {
  AnswerConstraint constraint(
      Shared(),
      {.grammar = Schema(R"({"const":1})"), .starts_in_reasoning = true, .stop_tokens = {kStop}});
  Write(constraint, "text <");
  SpellTheMark(constraint);
  Write(constraint, " more</think>1");
  EXPECT_TRUE(IsAllowed(constraint, kStop));
}

TEST(AnswerConstraintTest, MarkupNeedsTheControlToken) {
  const auto tools = CompileTools({.tools = {{"f", Json(), false}}}).value();
  AnswerConstraint constraint(Shared(), {.grammar = tools, .stop_tokens = {kStop}});
  Write(constraint, "text <");
  SpellTheMark(constraint);
  Write(constraint,
        " <｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"f\">\n\n</｜DSML｜invoke>\n"
        "</｜DSML｜tool_calls>");
  EXPECT_TRUE(IsAllowed(constraint, kStop));
  EXPECT_FALSE(MayWrite(constraint, "x"));
}

std::string Call(std::string_view name, std::string_view parameters) {
  return "<｜DSML｜invoke name=\"" + std::string(name) + "\">\n" + std::string(parameters) +
         "</｜DSML｜invoke>\n";
}
std::string Block(const std::string& calls) {
  return "\n\n<｜DSML｜tool_calls>\n" + calls + "</｜DSML｜tool_calls>";
}
std::string Parameter(std::string_view name, std::string_view is_string, std::string_view value) {
  return "<｜DSML｜parameter name=\"" + std::string(name) + "\" string=\"" +
         std::string(is_string) + "\">" + std::string(value) + "</｜DSML｜parameter>\n";
}

TEST(ToolGrammarTest, StrictParameters) {
  const Json parameters = ParseJson(R"({"type":"object","properties":{
      "city":{"type":"string","pattern":"^[A-Z]\\w+$"},"days":{"type":"integer","minimum":1},
      "unit":{"enum":["c","f",1]},"place":{"$ref":"#/$defs/p"},
      "any":{"anyOf":[{"type":"string"},{"type":"null"}]}},
      "required":["city"],"additionalProperties":false,
      "$defs":{"p":{"type":"array","items":{"type":"string"}}}})")
                              .value();
  const auto g = CompileTools({.tools = {{"w", parameters, true}}, .is_required = true}).value();
  const std::string city = Parameter("city", "true", "Rome");
  EXPECT_TRUE(Matches(g, Block(Call("w", city))));
  EXPECT_TRUE(Matches(g, Block(Call("w", city) + Call("w", city))));
  EXPECT_TRUE(Matches(g, Block(Call("w", city + Parameter("days", "false", "3") +
                                             Parameter("unit", "true", "f")))));
  EXPECT_TRUE(Matches(g, Block(Call("w", city + Parameter("unit", "false", "1")))));
  EXPECT_TRUE(Matches(g, Block(Call("w", city + Parameter("place", "false", R"(["a", "<b>"])")))));
  EXPECT_TRUE(Matches(g, Block(Call("w", city + Parameter("any", "true", "</x>\n\"")))));
  EXPECT_TRUE(Matches(g, Block(Call("w", city + Parameter("any", "false", "null")))));
  EXPECT_FALSE(Matches(g, Block(Call("w", "\n"))));
  EXPECT_FALSE(Matches(g, Block(Call("w", Parameter("city", "true", "rome")))));
  EXPECT_FALSE(Matches(g, Block(Call("w", Parameter("city", "false", "\"Rome\"")))));
  EXPECT_FALSE(Matches(g, Block(Call("w", city + Parameter("days", "false", "0")))));
  EXPECT_FALSE(Matches(g, Block(Call("w", city + Parameter("days", "true", "3")))));
  EXPECT_FALSE(Matches(g, Block(Call("w", city + Parameter("other", "true", "x")))));
  EXPECT_FALSE(Matches(g, Block(Call("v", city))));
  EXPECT_FALSE(Matches(g, Block("")));
  EXPECT_FALSE(Matches(g, "text" + Block(Call("w", city))));
  EXPECT_FALSE(Matches(g, Block(Call("w", city)) + "x"));
}

TEST(ToolGrammarTest, OtherToolsTakeAnythingWellFormed) {
  const auto g = CompileTools({.tools = {{"f", Json(), false}, {"g", Json(), true}}}).value();
  EXPECT_TRUE(Matches(g, "some text"));
  EXPECT_TRUE(Matches(g, ""));
  EXPECT_TRUE(
      Matches(g, "some text" + Block(Call("f", Parameter("a", "true", "x") +
                                                   Parameter("b", "false", "{\"k\": 1}")))));
  EXPECT_TRUE(Matches(g, Block(Call("f", "\n") + Call("g", "\n"))));
  EXPECT_FALSE(Matches(g, Block(Call("g", Parameter("a", "true", "x")))));
  EXPECT_FALSE(Matches(g, Block(Call("f", Parameter("a", "false", "x")))));
  EXPECT_FALSE(Matches(g, "some <｜DSML｜ text"));
}

TEST(ToolGrammarTest, WithoutACallTheTextIsADocument) {
  ToolBlock block;
  block.tools = {{"f", Json(), true}};
  block.text_schema = ParseJson(R"({"type":"integer","minimum":3,"maximum":7})").value();
  const auto grammar = CompileTools(block).value();
  EXPECT_TRUE(Matches(grammar, "5"));
  EXPECT_FALSE(Matches(grammar, "8"));
  EXPECT_FALSE(Matches(grammar, "text"));
  const std::string call =
      "\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"f\">\n\n</｜DSML｜invoke>\n"
      "</｜DSML｜tool_calls>";
  EXPECT_TRUE(Matches(grammar, call));
  EXPECT_FALSE(Matches(grammar, "5" + call));
}

TEST(ToolGrammarTest, OneCallOnly) {
  const auto g =
      CompileTools({.tools = {{"f", Json(), false}}, .is_required = true, .is_parallel = false})
          .value();
  EXPECT_TRUE(Matches(g, Block(Call("f", "\n"))));
  EXPECT_FALSE(Matches(g, Block(Call("f", "\n") + Call("f", "\n"))));
}

TEST(ToolGrammarTest, Errors) {
  const auto error = [](std::string_view name, std::string_view schema) {
    const auto g = CompileTools({.tools = {{std::string(name), ParseJson(schema).value(), true}}});
    return g.ok() ? "" : g.error().message;
  };
  EXPECT_EQ(error("a\"b", "{}"), "a tool called 'a\"b' cannot be written in a tag");
  EXPECT_EQ(error("f", R"({"type":"object","properties":{"x":{"not":{}}}})"),
            "tool 'f': #/properties/x: 'not' cannot be enforced");
  EXPECT_EQ(error("f", R"({"type":"object","properties":{"<":{}},"required":["<"]})"),
            "tool 'f': #: a parameter called '<' cannot be written in a tag");
}

// Each of them can be called, or none of the many is offered.
TEST(ToolGrammarTest, HowManyToolsThereMayBe) {
  const auto compile = [](int count) {
    ToolBlock block;
    for (int i = 0; i < count; ++i)
      block.tools.push_back({"tool_" + std::to_string(i), Json(), true});
    return CompileTools(block);
  };
  const auto most = compile(4000);
  ASSERT_TRUE(most.ok()) << most.error().message;
  EXPECT_TRUE(Matches(most.value(), "text" + Block(Call("tool_3999", "\n"))));
  const auto above = compile(5000);
  ASSERT_FALSE(above.ok());
  EXPECT_EQ(above.error().message.find("tools: more properties or alternatives"), 0u)
      << above.error().message;
}

TEST(ToolGrammarTest, TextWithoutTools) {
  EXPECT_TRUE(Matches(TextWithoutTools(), "a < b, ｜DSML and \"quotes\""));
  EXPECT_FALSE(Matches(TextWithoutTools(), "<｜DSML｜"));
  EXPECT_FALSE(Matches(TextWithoutTools(), "\xff"));
}

}  // namespace
}  // namespace fathom::grammar
