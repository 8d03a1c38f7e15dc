// Runs a grammar: a state is the set of all places the text read so far may have led to, each with
// its stack of calls. States are found when they are first reached and remembered with their
// transitions, so that reading on is a table look-up where the text has been in that state before.
// Belongs to one thread. Memory is bounded: Trim forgets all states but those it is told.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "grammar/automaton/grammar.h"

namespace fathom::grammar {

using StateId = uint32_t;
inline constexpr StateId kDead = 0;

// Places one state may hold at once. What comes later in a more ambiguous state is left out, which
// makes fewer documents, never wrong ones; places.h finds such grammars.
inline constexpr size_t kPlacesMax = 4096;

// A place in the grammar. `stack` names the calls around it, 0 for none.
struct Config {
  NodeId node;
  uint32_t count;
  uint32_t stack;
  auto operator<=>(const Config&) const = default;
};

class Machine {
 public:
  // `mark_is_spelled`: the vocabulary has no token for the mark, its text counts.
  Machine(std::shared_ptr<const Grammar> grammar, bool mark_is_spelled);

  // Valid until Trim forgets.
  StateId start() const { return start_; }
  // The state at the beginning of a part, as if it were the whole.
  StateId StartOf(NodeId part);
  // The state after one more symbol; kDead when nothing can be read.
  StateId Step(StateId state, uint16_t symbol) {
    return StepClass(state, grammar_->symbol_class[symbol]);
  }
  StateId StepClass(StateId state, uint16_t symbol_class) {
    const StateId next = transitions_[state * classes_ + symbol_class];
    return next != kUnknown ? next : FindStep(state, symbol_class);
  }
  StateId Read(StateId state, std::string_view bytes);
  // Whether the text may end here.
  bool Accepts(StateId state) const { return states_[state].accepts; }

  // The state with counters of characters replaced by "far from every limit" where `token_max` more
  // characters cannot reach one: what a token may be is the same, for many more states at once.
  StateId WithoutFarLimits(StateId state, uint32_t token_max);

  // Plain tokens of `kind` with up to `characters` characters are allowed in the state (kNoLimit:
  // all of them). `is_exact`: no other plain token is.
  struct PlainText {
    Plain kind = Plain::kNone;
    uint32_t characters = 0;
    bool is_exact = false;
  };
  PlainText FindPlainText(StateId state) const;

  // Forgets all states but these when what is remembered is too much; gives these their new names.
  // True when it did.
  bool Trim(std::span<StateId> kept) { return is_full_ && Forget(kept); }
  bool Trim(StateId& kept) { return Trim(std::span(&kept, 1)); }
  size_t places(StateId state) const { return states_[state].size; }
  // Whether a state that was found so far would have held more than kPlacesMax.
  bool has_left_out() const { return has_left_out_; }
  // Of states, their places and stacks.
  size_t remembered_bytes() const;
  const Grammar& grammar() const { return *grammar_; }

 private:
  static constexpr StateId kUnknown = 0xffffffff;
  // Stand for counters that are far from the limits, above or below the least number.
  static constexpr uint32_t kFarAbove = 0xffffffff;
  static constexpr uint32_t kFarBelow = 0xfffffffe;

  struct Frame {
    NodeId node;  // where to go on
    uint32_t count;
    uint32_t below;
    uint32_t depth;
  };
  struct State {
    uint32_t first = 0;  // in configs_
    uint32_t size = 0;
    bool accepts = false;
  };
  std::span<const Config> Configs(StateId state) const {
    return std::span<const Config>(configs_).subspan(states_[state].first, states_[state].size);
  }
  StateId FindStep(StateId state, uint16_t symbol_class);
  void Begin();
  void Add(const Config& config);
  void Follow(const Config& config);
  StateId Close();
  StateId Intern(std::vector<Config>& configs, bool accepts);
  uint32_t Push(NodeId node, uint32_t count, uint32_t below);
  void Reset();
  bool Forget(std::span<StateId> kept);
  uint32_t PushAgain(uint32_t stack, const std::vector<Frame>& old_frames,
                     std::unordered_map<uint32_t, uint32_t>& renamed);

  std::shared_ptr<const Grammar> grammar_;  // shared with whoever compiled it
  const bool mark_is_spelled_;
  size_t classes_;
  StateId start_ = kDead;
  size_t bytes_max_;  // remembered before states are forgotten
  bool is_full_ = false;
  bool has_left_out_ = false;

  std::vector<Frame> frames_;
  std::unordered_multimap<uint64_t, uint32_t> frame_by_hash_;
  std::vector<State> states_;
  std::vector<Config> configs_;
  std::vector<StateId> transitions_;
  std::unordered_multimap<uint64_t, StateId> state_by_hash_;

  // The state being found: what was added, and which of it reads symbols.
  std::vector<Config> added_;
  std::vector<uint32_t> seen_;  // open hash table of indices into added_, plus 1
  std::vector<Config> reading_;
  bool accepts_ = false;
};

}  // namespace fathom::grammar
