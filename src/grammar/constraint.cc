// The state of one answer: reasoning, then the grammar's machine, then nothing more to say. Before
// an answer that is bound, reasoning has a machine too: a block of calls in it, spelled by whatever
// tokens, would end it for who reads the answer. Masks
// of the machine's states are remembered; stop tokens are added to them where they belong.
#include "grammar/constraint.h"

#include <algorithm>
#include <array>
#include <unordered_map>
#include <utility>

#include "grammar/automaton/machine.h"
#include "grammar/automaton/token_tree.h"
#include "grammar/vocabulary.h"

namespace fathom::grammar {
namespace {

// 16 KiB each with the vocabulary of V4.
constexpr size_t kMasksKept = 256;

}  // namespace

struct AnswerConstraint::State {
  enum class Phase { kReasoning, kAnswer, kFree };

  std::shared_ptr<const Vocabulary> shared_vocabulary;  // shared with the other answers
  const Vocabulary::State& vocabulary;
  AnswerOptions options;
  Phase phase = Phase::kFree;
  int64_t tokens = 0;
  std::optional<Machine> machine;
  StateId at = kDead;
  std::unordered_map<StateId, TokenMask> masks;
  TokenMask allowed;

  State(std::shared_ptr<const Vocabulary> vocabulary_of_all, const Vocabulary::State& inner,
        AnswerOptions answer_options)
      : shared_vocabulary(std::move(vocabulary_of_all)),
        vocabulary(inner),
        options(std::move(answer_options)) {}

  bool IsStop(TokenId token) const {
    const auto& stops = options.stop_tokens;
    return std::find(stops.begin(), stops.end(), token) != stops.end();
  }
  void Begin(std::shared_ptr<const Grammar> grammar);
  void BeginReasoning();
  void BeginAnswer();
  void Step(TokenId token);
  TokenMask FindMask();
  void AllowAllButStops();
  bool AllowStops();
};

void AnswerConstraint::State::Begin(std::shared_ptr<const Grammar> grammar) {
  masks.clear();
  machine.emplace(std::move(grammar), !vocabulary.mark.has_value());
  at = machine->start();
}

void AnswerConstraint::State::BeginReasoning() {
  phase = Phase::kReasoning;
  if (options.grammar != nullptr) Begin(TextWithoutTools());
}

void AnswerConstraint::State::BeginAnswer() {
  phase = options.grammar == nullptr ? Phase::kFree : Phase::kAnswer;
  if (phase == Phase::kAnswer) Begin(options.grammar);
}

void AnswerConstraint::State::Step(TokenId token) {
  // The mask may have filled the machine.
  if (machine->Trim(at)) masks.clear();
  const std::string_view bytes = vocabulary.Bytes(token);
  if (vocabulary.mark == token) {
    at = machine->Step(at, kMark);
  } else {
    at = bytes.empty() ? kDead : machine->Read(at, bytes);
  }
}

TokenMask AnswerConstraint::State::FindMask() {
  StateId state = machine->WithoutFarLimits(at, vocabulary.characters_max);
  const auto known = masks.find(state);
  if (known != masks.end()) return known->second;
  TokenMask mask(vocabulary.words);
  const Machine::PlainText plain = machine->FindPlainText(state);
  const TokenTree* walked = &vocabulary.all;
  if (plain.kind != Plain::kNone) {
    const PlainTokens& of_kind = vocabulary.plain[static_cast<size_t>(plain.kind)];
    const size_t length = std::min<size_t>(plain.characters, of_kind.up_to.size() - 1);
    mask = of_kind.up_to[length];
    if (plain.is_exact || length + 1 == of_kind.up_to.size()) walked = &of_kind.others;
  }
  std::array<StateId, 2> kept = {at, state};
  if (walked->AddReadable(*machine, kept, mask)) masks.clear();
  at = kept[0];
  state = kept[1];
  if (vocabulary.mark && machine->Step(state, kMark) != kDead) SetBit(mask, *vocabulary.mark);
  if (masks.size() >= kMasksKept) masks.clear();
  masks.emplace(state, mask);
  return mask;
}

// False when there is none.
bool AnswerConstraint::State::AllowStops() {
  bool is_any = false;
  for (const TokenId token : options.stop_tokens) {
    if (token < 0 || static_cast<size_t>(token) >= allowed.size() * 64) continue;
    SetBit(allowed, token);
    is_any = true;
  }
  return is_any;
}

void AnswerConstraint::State::AllowAllButStops() {
  allowed = vocabulary.tokens;
  for (const TokenId token : options.stop_tokens) {
    if (token < 0 || static_cast<size_t>(token) >= allowed.size() * 64) continue;
    allowed[static_cast<size_t>(token) / 64] &= ~(uint64_t{1} << (token % 64));
  }
}

AnswerConstraint::AnswerConstraint(std::shared_ptr<const Vocabulary> vocabulary,
                                   AnswerOptions options) {
  const Vocabulary::State& inner = *vocabulary->state_;
  state_ = std::make_unique<State>(std::move(vocabulary), inner, std::move(options));
  if (state_->options.starts_in_reasoning && inner.close_thinking) {
    state_->BeginReasoning();
  } else {
    state_->BeginAnswer();
  }
}

AnswerConstraint::~AnswerConstraint() = default;

std::span<const uint64_t> AnswerConstraint::Allowed() {
  State& s = *state_;
  const bool may_stop = s.tokens >= s.options.min_tokens;
  const auto is_empty = [&] {
    return std::all_of(s.allowed.begin(), s.allowed.end(), [](uint64_t word) { return word == 0; });
  };
  if (s.phase == State::Phase::kReasoning) {
    const auto& budget = s.options.reasoning_tokens_max;
    if (budget && s.tokens >= *budget) {
      s.allowed.assign(s.vocabulary.words, 0);
      SetBit(s.allowed, *s.vocabulary.close_thinking);
      return s.allowed;
    }
    if (s.options.grammar == nullptr) {
      if (may_stop) return {};
      s.AllowAllButStops();
      return s.allowed;
    }
    if (s.machine->Trim(s.at)) s.masks.clear();
    s.allowed = s.FindMask();
    SetBit(s.allowed, *s.vocabulary.close_thinking);
    return s.allowed;
  }
  if (s.phase == State::Phase::kFree) {
    if (may_stop) return {};
    s.AllowAllButStops();
    if (is_empty()) return {};
    return s.allowed;
  }
  if (s.machine->Trim(s.at)) s.masks.clear();
  s.allowed = s.FindMask();
  if (s.machine->Accepts(s.at) && may_stop) s.AllowStops();
  if (is_empty() && !s.AllowStops()) return {};
  return s.allowed;
}

void AnswerConstraint::Accept(TokenId token) {
  State& s = *state_;
  ++s.tokens;
  if (s.phase == State::Phase::kReasoning) {
    if (token == *s.vocabulary.close_thinking) {
      s.BeginAnswer();
    } else if (s.options.grammar != nullptr) {
      s.Step(token);
      if (s.at == kDead) s.at = s.machine->start();
    }
    return;
  }
  if (s.phase == State::Phase::kFree) return;
  s.Step(token);
  if (s.at == kDead) s.phase = State::Phase::kFree;
}

}  // namespace fathom::grammar
