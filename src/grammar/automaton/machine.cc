// The subset construction, done while reading. Stacks are shared: a frame is stored once for each
// (place to go on, counter, frame below), so that two configurations with equal stacks are equal.
#include "grammar/automaton/machine.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace fathom::grammar {
namespace {

// What is remembered before states are forgotten. A step adds a small part of it.
constexpr size_t kBytesKept = 24 << 20;
// Of an entry in one of the hash tables.
constexpr size_t kEntryBytes = 40;

uint64_t Mix(uint64_t hash, uint64_t value) {
  hash ^= value + 0x9e3779b97f4a7c15 + (hash << 6) + (hash >> 2);
  return hash * 0xff51afd7ed558ccd;
}

uint64_t HashOf(const Config& config) { return Mix(Mix(config.node, config.count), config.stack); }

// Whether the edge reads only symbols that begin no plain token of either kind.
bool IsSpecial(const Edge& edge) {
  return edge.kind == Edge::Kind::kSpelled || edge.high < 0x20 || edge.low == kMark ||
         (edge.low == edge.high && (edge.low == '"' || edge.low == '\\' || edge.low == '<'));
}

}  // namespace

Machine::Machine(std::shared_ptr<const Grammar> grammar, bool mark_is_spelled)
    : grammar_(std::move(grammar)),
      mark_is_spelled_(mark_is_spelled),
      classes_(grammar_->class_symbol.size()),
      bytes_max_(kBytesKept) {
  Reset();
  start_ = StartOf(grammar_->start);
}

StateId Machine::StartOf(NodeId part) {
  Begin();
  Add({part, 0, 0});
  return Close();
}

void Machine::Reset() {
  frames_.assign(1, {});
  frame_by_hash_.clear();
  states_.assign(1, {});
  configs_.clear();
  transitions_.assign(classes_, kDead);
  state_by_hash_.clear();
}

uint32_t Machine::Push(NodeId node, uint32_t count, uint32_t below) {
  const uint64_t hash = HashOf({node, count, below});
  const auto [first, last] = frame_by_hash_.equal_range(hash);
  for (auto it = first; it != last; ++it) {
    const Frame& frame = frames_[it->second];
    if (frame.node == node && frame.count == count && frame.below == below) return it->second;
  }
  frames_.push_back({node, count, below, frames_[below].depth + 1});
  const auto id = static_cast<uint32_t>(frames_.size() - 1);
  frame_by_hash_.emplace(hash, id);
  return id;
}

void Machine::Begin() {
  added_.clear();
  reading_.clear();
  accepts_ = false;
  seen_.assign(64, 0);
}

void Machine::Add(const Config& config) {
  const uint32_t needed = frames_[config.stack].depth + grammar_->nodes[config.node].height;
  if (needed > kDepthMax) return;
  if (seen_.size() < 2 * (added_.size() + 1)) {
    seen_.assign(2 * seen_.size(), 0);
    for (size_t i = 0; i < added_.size(); ++i) {
      size_t slot = HashOf(added_[i]) & (seen_.size() - 1);
      while (seen_[slot] != 0) slot = (slot + 1) & (seen_.size() - 1);
      seen_[slot] = static_cast<uint32_t>(i + 1);
    }
  }
  size_t slot = HashOf(config) & (seen_.size() - 1);
  for (; seen_[slot] != 0; slot = (slot + 1) & (seen_.size() - 1)) {
    if (added_[seen_[slot] - 1] == config) return;
  }
  if (added_.size() >= kPlacesMax) {
    has_left_out_ = true;
    return;
  }
  added_.push_back(config);
  seen_[slot] = static_cast<uint32_t>(added_.size());
}

// Adds what is reached from the configuration without reading.
void Machine::Follow(const Config& config) {
  const Node& node = grammar_->nodes[config.node];
  if (node.is_end && config.stack == 0) accepts_ = true;
  if (node.is_end && config.stack != 0) {
    const Frame frame = frames_[config.stack];
    Add({frame.node, frame.count, frame.below});
  }
  bool reads = false;
  for (uint32_t i = 0; i < node.edge_count; ++i) {
    const Edge& edge = grammar_->edges[node.first_edge + i];
    const bool is_far = config.count >= kFarBelow;
    switch (edge.kind) {
      case Edge::Kind::kSymbols:
        reads = true;
        break;
      case Edge::Kind::kSpelled:
        reads = reads || mark_is_spelled_;
        break;
      case Edge::Kind::kEpsilon:
        Add({edge.target, config.count, config.stack});
        break;
      case Edge::Kind::kCount:
        Add({edge.target, is_far ? config.count : std::min(config.count + 1, edge.value),
             config.stack});
        break;
      case Edge::Kind::kIfLess:
        if (is_far || config.count < edge.value) Add({edge.target, config.count, config.stack});
        break;
      case Edge::Kind::kIfAtLeast:
        if (config.count != kFarBelow && config.count >= edge.value) {
          Add({edge.target, config.count, config.stack});
        }
        break;
      case Edge::Kind::kCall:
        if (frames_[config.stack].depth + 1 + grammar_->nodes[edge.value].height > kDepthMax) break;
        // Without room no frame is made either.
        if (added_.size() >= kPlacesMax) {
          has_left_out_ = true;
          break;
        }
        Add({edge.value, 0, Push(edge.target, config.count, config.stack)});
        break;
    }
  }
  if (reads) reading_.push_back(config);
}

StateId Machine::Close() {
  for (size_t i = 0; i < added_.size(); ++i) Follow(Config(added_[i]));
  const StateId state = Intern(reading_, accepts_);
  is_full_ = remembered_bytes() >= bytes_max_;
  return state;
}

StateId Machine::Intern(std::vector<Config>& configs, bool accepts) {
  if (configs.empty() && !accepts) return kDead;
  std::sort(configs.begin(), configs.end());
  uint64_t hash = accepts ? 1 : 0;
  for (const Config& config : configs) hash = Mix(hash, HashOf(config));
  const auto [first, last] = state_by_hash_.equal_range(hash);
  for (auto it = first; it != last; ++it) {
    const std::span<const Config> known = Configs(it->second);
    if (states_[it->second].accepts == accepts &&
        std::equal(known.begin(), known.end(), configs.begin(), configs.end())) {
      return it->second;
    }
  }
  const auto id = static_cast<StateId>(states_.size());
  states_.push_back(
      {static_cast<uint32_t>(configs_.size()), static_cast<uint32_t>(configs.size()), accepts});
  configs_.insert(configs_.end(), configs.begin(), configs.end());
  transitions_.resize(transitions_.size() + classes_, kUnknown);
  state_by_hash_.emplace(hash, id);
  return id;
}

StateId Machine::FindStep(StateId state, uint16_t symbol_class) {
  const uint16_t symbol = grammar_->class_symbol[symbol_class];
  Begin();
  for (const Config& config : Configs(state)) {
    const Node& node = grammar_->nodes[config.node];
    for (uint32_t i = 0; i < node.edge_count; ++i) {
      const Edge& edge = grammar_->edges[node.first_edge + i];
      const bool reads = edge.kind == Edge::Kind::kSymbols
                             ? symbol != kMark || !mark_is_spelled_
                             : edge.kind == Edge::Kind::kSpelled && mark_is_spelled_;
      if (reads && edge.low <= symbol && symbol <= edge.high) {
        Add({edge.target, config.count, config.stack});
      }
    }
  }
  const StateId next = Close();
  transitions_[state * classes_ + symbol_class] = next;
  return next;
}

StateId Machine::Read(StateId state, std::string_view bytes) {
  for (const char byte : bytes) {
    state = Step(state, static_cast<uint8_t>(byte));
    if (state == kDead) break;
  }
  return state;
}

StateId Machine::WithoutFarLimits(StateId state, uint32_t token_max) {
  std::vector<Config> configs(Configs(state).begin(), Configs(state).end());
  bool changed = false;
  for (Config& config : configs) {
    const int32_t index = grammar_->nodes[config.node].limits;
    if (index < 0 || config.count >= kFarBelow) continue;
    const CharacterLimits& limits = grammar_->limits[index];
    if (limits.max != kNoLimit && limits.max - config.count <= token_max) continue;
    if (config.count < limits.min && limits.min - config.count <= token_max) continue;
    config.count = config.count >= limits.min ? kFarAbove : kFarBelow;
    changed = true;
  }
  return changed ? Intern(configs, states_[state].accepts) : state;
}

Machine::PlainText Machine::FindPlainText(StateId state) const {
  PlainText found;
  bool others_read_plain = false;
  for (const Config& config : Configs(state)) {
    const Node& node = grammar_->nodes[config.node];
    if (node.plain == Plain::kNone) {
      for (uint32_t i = 0; i < node.edge_count; ++i) {
        others_read_plain |= !IsSpecial(grammar_->edges[node.first_edge + i]);
      }
      continue;
    }
    uint32_t characters = kNoLimit;
    if (node.limits >= 0 && config.count < kFarBelow &&
        grammar_->limits[node.limits].max != kNoLimit) {
      characters = grammar_->limits[node.limits].max - config.count;
    }
    if (found.kind == Plain::kNone || characters > found.characters) {
      found = {node.plain, characters, false};
    }
  }
  found.is_exact = !others_read_plain || found.characters == kNoLimit;
  return found;
}

size_t Machine::remembered_bytes() const {
  return frames_.size() * (sizeof(Frame) + kEntryBytes) +
         states_.size() * (sizeof(State) + classes_ * sizeof(StateId) + kEntryBytes) +
         configs_.size() * sizeof(Config);
}

// The stack among the new frames.
uint32_t Machine::PushAgain(uint32_t stack, const std::vector<Frame>& old_frames,
                            std::unordered_map<uint32_t, uint32_t>& renamed) {
  std::vector<uint32_t> path;
  uint32_t known = 0;
  for (; stack != 0; stack = old_frames[stack].below) {
    if (const auto it = renamed.find(stack); it != renamed.end()) {
      known = it->second;
      break;
    }
    path.push_back(stack);
  }
  for (; !path.empty(); path.pop_back()) {
    const Frame& frame = old_frames[path.back()];
    known = Push(frame.node, frame.count, known);
    renamed.emplace(path.back(), known);
  }
  return known;
}

bool Machine::Forget(std::span<StateId> kept) {
  const std::vector<Frame> old_frames = std::exchange(frames_, {});
  const std::vector<Config> old_configs = std::exchange(configs_, {});
  const std::vector<State> old_states = std::exchange(states_, {});
  Reset();
  std::unordered_map<uint32_t, uint32_t> renamed;
  std::vector<Config> configs;
  for (StateId& state : kept) {
    const State& old = old_states[state];
    configs.assign(old_configs.begin() + old.first, old_configs.begin() + old.first + old.size);
    for (Config& config : configs) config.stack = PushAgain(config.stack, old_frames, renamed);
    state = Intern(configs, old.accepts);
  }
  // What has to be kept alone could be much: then forgetting again soon would not help.
  bytes_max_ = std::max(kBytesKept, 2 * remembered_bytes());
  is_full_ = false;
  return true;
}

}  // namespace fathom::grammar
