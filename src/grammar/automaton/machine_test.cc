// What hostile grammars cost: memory stays bounded and the documents stay the same.
#include "grammar/automaton/machine.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <string>

#include "grammar/automaton/token_tree.h"
#include "grammar/constraint.h"

namespace fathom::grammar {
namespace {

// Above what is remembered at most, with what one step and the growth of a walk's path may add.
constexpr size_t kBytesMax = 32 << 20;

// Strings of up to 10000, 10001, ... characters: each state is as many places, and new with each
// character. With `values`, or one of these.
std::shared_ptr<const Grammar> ManyPlaces(int count, Json::Array values = {}) {
  Json::Array choices;
  for (int i = 0; i < count; ++i) {
    choices.emplace_back(Json::Object{{"type", "string"}, {"maxLength", 10'000 + i}});
  }
  if (!values.empty()) choices.emplace_back(Json::Object{{"enum", Json(std::move(values))}});
  return CompileSchema(Json(Json::Object{{"anyOf", Json(std::move(choices))}})).value();
}

TEST(MachineTest, ALongTextOfManyPlacesStaysWithinBounds) {
  Machine machine(ManyPlaces(800), true);
  StateId state = machine.Read(machine.start(), "\"");
  for (int i = 0; i < 9000; ++i) {
    state = machine.Read(state, "x");
    ASSERT_NE(state, kDead) << i;
    machine.Trim(state);
    ASSERT_LT(machine.remembered_bytes(), kBytesMax) << i;
  }
  EXPECT_TRUE(machine.Accepts(machine.Read(state, "\"")));
}

// A walk through the tokens meets more states than are remembered, and finds the same tokens.
TEST(MachineTest, AWalkOfManyStatesStaysWithinBounds) {
  std::vector<std::string> texts;
  for (int i = 0; i < 1 << 14; ++i) {
    std::string text = "\"";
    for (int bit = 12; bit >= 0; bit -= 2) text.push_back("abcd"[i >> bit & 3]);
    texts.push_back(text);
  }
  Json::Array values;
  for (const std::string& text : texts) values.emplace_back(text.substr(1));
  const auto grammar = ManyPlaces(300, std::move(values));
  std::vector<TokenTree::Token> tokens;
  for (size_t i = 0; i < texts.size(); ++i) {
    if (i % 3 == 0) texts[i].append("\"");
    if (i % 7 == 0) texts[i].append("\"\"");
    tokens.emplace_back(texts[i], static_cast<TokenId>(i));
  }
  const TokenTree tree(tokens);
  Machine machine(grammar, true);
  std::array<StateId, 2> kept = {machine.Read(machine.start(), "\"a"), machine.start()};
  TokenMask mask(texts.size() / 64);
  EXPECT_TRUE(tree.AddReadable(machine, kept, mask));
  EXPECT_LT(machine.remembered_bytes(), kBytesMax);
  for (size_t i = 0; i < texts.size(); ++i) {
    ASSERT_EQ(mask[i / 64] >> (i % 64) & 1, i % 7 == 0 ? 0 : 1) << texts[i];
  }
  EXPECT_TRUE(machine.Accepts(machine.Read(kept[0], "bc\"")));
  EXPECT_TRUE(machine.Accepts(machine.Read(kept[1], "\"abc\"")));
}

TEST(BuilderTest, AFullOneTakesNothingMore) {
  Builder builder;
  const NodeId start = builder.AddNode();
  builder.TextTo(start, "short", builder.AddEnd());
  EXPECT_FALSE(builder.is_full());
  EXPECT_LE(builder.Text(start, std::string(2 * kNodesMax, 'x')), kNodesMax);
  EXPECT_TRUE(builder.is_full());
  EXPECT_EQ(builder.Finish(start), nullptr);
}

}  // namespace
}  // namespace fathom::grammar
