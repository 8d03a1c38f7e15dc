// Building a network: edges are collected per node, then measured, pruned and laid out flat. The
// height of a node is the least number of calls within calls that any way to the end needs; a run
// that only takes edges whose height still fits below kDepthMax can always finish.
#include "grammar/automaton/grammar.h"

#include <algorithm>
#include <set>

#include "base/check.h"

namespace fathom::grammar {
namespace {

constexpr uint32_t kNever = std::numeric_limits<uint32_t>::max();

uint32_t HeightThrough(const Edge& edge, const std::vector<uint32_t>& heights) {
  const uint32_t after = heights[edge.target];
  if (edge.kind != Edge::Kind::kCall || after == kNever) return after;
  const uint32_t part = heights[edge.value];
  return part == kNever ? kNever : std::max(after, part + 1);
}

bool ReadsSymbols(const Edge& edge) {
  return edge.kind == Edge::Kind::kSymbols || edge.kind == Edge::Kind::kSpelled;
}

}  // namespace

NodeId Builder::AddNode() {
  nodes_.emplace_back();
  return static_cast<NodeId>(nodes_.size() - 1);
}

NodeId Builder::AddEnd() {
  const NodeId node = AddNode();
  nodes_[node].is_end = true;
  return node;
}

void Builder::Symbols(NodeId from, uint16_t low, uint16_t high, NodeId to) {
  nodes_[from].edges.push_back({Edge::Kind::kSymbols, low, high, to});
}

void Builder::Epsilon(NodeId from, NodeId to) {
  nodes_[from].edges.push_back({.kind = Edge::Kind::kEpsilon, .target = to});
}

void Builder::Call(NodeId from, NodeId part, NodeId to) {
  nodes_[from].edges.push_back({.kind = Edge::Kind::kCall, .target = to, .value = part});
}

void Builder::Count(NodeId from, uint32_t cap, NodeId to) {
  nodes_[from].edges.push_back({.kind = Edge::Kind::kCount, .target = to, .value = cap});
}

void Builder::IfLess(NodeId from, uint32_t value, NodeId to) {
  nodes_[from].edges.push_back({.kind = Edge::Kind::kIfLess, .target = to, .value = value});
}

void Builder::IfAtLeast(NodeId from, uint32_t value, NodeId to) {
  nodes_[from].edges.push_back({.kind = Edge::Kind::kIfAtLeast, .target = to, .value = value});
}

NodeId Builder::Text(NodeId from, std::string_view text) {
  while (!text.empty()) {
    if (text.starts_with(kMarkText)) {
      from = Mark(from);
      text.remove_prefix(kMarkText.size());
      continue;
    }
    const NodeId next = AddNode();
    const auto byte = static_cast<uint8_t>(text.front());
    Symbols(from, byte, byte, next);
    from = next;
    text.remove_prefix(1);
  }
  return from;
}

void Builder::TextTo(NodeId from, std::string_view text, NodeId to) {
  Epsilon(Text(from, text), to);
}

NodeId Builder::Mark(NodeId from) {
  const NodeId end = AddNode();
  Symbols(from, kMark, kMark, end);
  NodeId at = from;
  for (size_t i = 0; i < kMarkText.size(); ++i) {
    const NodeId next = i + 1 == kMarkText.size() ? end : AddNode();
    const auto byte = static_cast<uint8_t>(kMarkText[i]);
    nodes_[at].edges.push_back({Edge::Kind::kSpelled, byte, byte, next});
    at = next;
  }
  return end;
}

int32_t Builder::AddLimits(CharacterLimits limits) {
  limits_.push_back(limits);
  return static_cast<int32_t>(limits_.size() - 1);
}

// Heights only ever fall, from "never" on: whoever depends on a node that fell is looked at again.
std::vector<uint32_t> Builder::Heights() const {
  std::vector<std::vector<NodeId>> dependents(nodes_.size());
  std::vector<uint32_t> heights(nodes_.size(), kNever);
  std::vector<NodeId> fallen;
  for (NodeId id = 0; id < nodes_.size(); ++id) {
    for (const Edge& edge : nodes_[id].edges) {
      dependents[edge.target].push_back(id);
      if (edge.kind == Edge::Kind::kCall) dependents[edge.value].push_back(id);
    }
    if (!nodes_[id].is_end) continue;
    heights[id] = 0;
    fallen.push_back(id);
  }
  while (!fallen.empty()) {
    const NodeId id = fallen.back();
    fallen.pop_back();
    for (const NodeId dependent : dependents[id]) {
      uint32_t height = heights[dependent];
      for (const Edge& edge : nodes_[dependent].edges) {
        height = std::min(height, HeightThrough(edge, heights));
      }
      if (height == heights[dependent]) continue;
      heights[dependent] = height;
      fallen.push_back(dependent);
    }
  }
  return heights;
}

void Builder::SetClasses(Grammar& grammar) const {
  std::set<uint16_t> begins = {0, kMark};
  for (const Edge& edge : grammar.edges) {
    if (!ReadsSymbols(edge)) continue;
    begins.insert(edge.low);
    begins.insert(static_cast<uint16_t>(edge.high + 1));
  }
  uint16_t next_class = 0;
  for (uint16_t symbol = 0; symbol < kSymbolCount; ++symbol) {
    if (begins.contains(symbol)) {
      grammar.class_symbol.push_back(symbol);
      next_class = static_cast<uint16_t>(grammar.class_symbol.size());
    }
    grammar.symbol_class[symbol] = static_cast<uint16_t>(next_class - 1);
  }
}

std::shared_ptr<const Grammar> Builder::Finish(NodeId start) {
  const std::vector<uint32_t> heights = Heights();
  if (heights[start] > kDepthMax) return nullptr;
  auto grammar = std::make_shared<Grammar>();
  grammar->limits = limits_;
  grammar->start = start;
  grammar->nodes.resize(nodes_.size());
  for (NodeId id = 0; id < nodes_.size(); ++id) {
    Node& node = grammar->nodes[id];
    node.first_edge = static_cast<uint32_t>(grammar->edges.size());
    node.height = static_cast<uint16_t>(std::min<uint32_t>(heights[id], kDepthMax + 1));
    node.is_end = nodes_[id].is_end;
    node.plain = nodes_[id].plain;
    node.limits = nodes_[id].limits;
    for (const Edge& edge : nodes_[id].edges) {
      if (HeightThrough(edge, heights) <= kDepthMax) grammar->edges.push_back(edge);
    }
    node.edge_count = static_cast<uint32_t>(grammar->edges.size()) - node.first_edge;
  }
  SetClasses(*grammar);
  return grammar;
}

}  // namespace fathom::grammar
