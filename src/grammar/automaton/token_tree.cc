#include "grammar/automaton/token_tree.h"

#include <algorithm>
#include <array>

#include "base/check.h"

namespace fathom::grammar {

TokenTree::TokenTree(std::vector<Token> tokens) {
  std::sort(tokens.begin(), tokens.end());
  std::vector<uint32_t> path;  // the nodes of the token before
  std::string_view before;
  TokenId before_id = -1;
  const auto close = [&](size_t depth) {
    for (; path.size() > depth; path.pop_back()) {
      nodes_[path.back()].next = static_cast<uint32_t>(nodes_.size());
    }
  };
  for (const auto& [bytes, id] : tokens) {
    FATHOM_CHECK(!bytes.empty() && bytes.size() < UINT16_MAX, "token of no or too many bytes");
    if (bytes == before) {
      same_.emplace_back(before_id, id);
      continue;
    }
    size_t shared = 0;
    while (shared < std::min(bytes.size(), before.size()) && bytes[shared] == before[shared]) {
      ++shared;
    }
    close(shared);
    for (size_t i = shared; i < bytes.size(); ++i) {
      path.push_back(static_cast<uint32_t>(nodes_.size()));
      nodes_.push_back({0, -1, static_cast<uint16_t>(i), static_cast<uint8_t>(bytes[i])});
    }
    nodes_[path.back()].token = id;
    depth_max_ = std::max(depth_max_, bytes.size());
    before = bytes;
    before_id = id;
  }
  close(0);
}

bool TokenTree::AddReadable(Machine& machine, std::span<StateId> kept, TokenMask& mask) const {
  std::array<uint16_t, 256> classes{};
  for (size_t byte = 0; byte < classes.size(); ++byte) {
    classes[byte] = machine.grammar().symbol_class[byte];
  }
  std::vector<StateId> states(kept.begin(), kept.end());
  states.resize(kept.size() + depth_max_, kDead);
  const size_t start = kept.size() - 1;
  bool has_forgotten = false;
  for (size_t i = 0; i < nodes_.size();) {
    const Node& node = nodes_[i];
    const size_t at = start + node.depth;
    has_forgotten |= machine.Trim(std::span(states).first(at + 1));
    const StateId next = machine.StepClass(states[at], classes[node.byte]);
    if (next == kDead) {
      i = node.next;
      continue;
    }
    states[at + 1] = next;
    if (node.token >= 0) SetBit(mask, node.token);
    ++i;
  }
  for (const auto& [first, other] : same_) {
    const bool is_set = (mask[static_cast<size_t>(first) / 64] >> (first % 64) & 1) != 0;
    if (is_set) SetBit(mask, other);
  }
  std::copy_n(states.begin(), kept.size(), kept.begin());
  return has_forgotten;
}

}  // namespace fathom::grammar
