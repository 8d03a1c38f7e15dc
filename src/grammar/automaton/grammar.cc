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
  if (!is_full()) nodes_.emplace_back();
  return static_cast<NodeId>(nodes_.size() - 1);
}

NodeId Builder::AddEnd() {
  const NodeId node = AddNode();
  nodes_[node].is_end = true;
  return node;
}

void Builder::AddEdge(NodeId from, const Edge& edge) {
  if (!is_full()) nodes_[from].edges.push_back(edge);
}

void Builder::Symbols(NodeId from, uint16_t low, uint16_t high, NodeId to) {
  AddEdge(from, {Edge::Kind::kSymbols, low, high, to});
}

void Builder::Epsilon(NodeId from, NodeId to) {
  AddEdge(from, {.kind = Edge::Kind::kEpsilon, .target = to});
}

void Builder::Call(NodeId from, NodeId part, NodeId to) {
  AddEdge(from, {.kind = Edge::Kind::kCall, .target = to, .value = part});
}

void Builder::Count(NodeId from, uint32_t cap, NodeId to) {
  AddEdge(from, {.kind = Edge::Kind::kCount, .target = to, .value = cap});
}

void Builder::IfLess(NodeId from, uint32_t value, NodeId to) {
  AddEdge(from, {.kind = Edge::Kind::kIfLess, .target = to, .value = value});
}

void Builder::IfAtLeast(NodeId from, uint32_t value, NodeId to) {
  AddEdge(from, {.kind = Edge::Kind::kIfAtLeast, .target = to, .value = value});
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
    AddEdge(at, {Edge::Kind::kSpelled, byte, byte, next});
    at = next;
  }
  return end;
}

int32_t Builder::AddLimits(CharacterLimits limits) {
  limits_.push_back(limits);
  return static_cast<int32_t>(limits_.size() - 1);
}

// In ascending order: through an edge a height is never less than what it depends on, so that the
// least one not yet settled is final. Heights above kDepthMax stay "never".
std::vector<uint32_t> Builder::Heights() const {
  struct Dependent {
    NodeId from;
    const Edge* edge;
  };
  std::vector<std::vector<Dependent>> dependents(nodes_.size());
  std::vector<uint32_t> heights(nodes_.size(), kNever);
  std::vector<std::vector<NodeId>> reached(kDepthMax + 1);  // by height
  for (NodeId id = 0; id < nodes_.size(); ++id) {
    for (const Edge& edge : nodes_[id].edges) {
      dependents[edge.target].push_back({id, &edge});
      if (edge.kind == Edge::Kind::kCall) dependents[edge.value].push_back({id, &edge});
    }
    if (!nodes_[id].is_end) continue;
    heights[id] = 0;
    reached[0].push_back(id);
  }
  for (uint32_t height = 0; height <= kDepthMax; ++height) {
    while (!reached[height].empty()) {
      const NodeId id = reached[height].back();
      reached[height].pop_back();
      if (heights[id] != height) continue;  // it fell further since
      for (const auto& [from, edge] : dependents[id]) {
        const uint32_t through = HeightThrough(*edge, heights);
        if (through > kDepthMax || through >= heights[from]) continue;
        heights[from] = through;
        reached[through].push_back(from);
      }
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
  if (is_full()) return nullptr;
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
