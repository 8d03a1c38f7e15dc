#include "grammar/automaton/places.h"

#include <algorithm>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "grammar/automaton/machine.h"

namespace fathom::grammar {
namespace {

// Ways on from one node that make a look worth its time: of two choices, one inside the other, that
// have more than kPlacesMax ways together, one has that many.
constexpr size_t kWaysMany = 64;
// States that are looked at from the start, past the markup around a call; and from each part, past
// the bracket that opens an object or a list.
constexpr size_t kStatesOfStart = 256;
constexpr size_t kStatesOfPart = 16;
// Steps and places together; some 0.1 s.
constexpr size_t kSearchWorkMax = 1'500'000;

// Whether many nodes are reached from some node without reading, or many by the same symbol. Parts
// are taken to be as good as empty, which finds a few nodes too many.
bool HasManyWays(const Grammar& grammar) {
  std::vector<size_t> seen_by(grammar.nodes.size(), 0);  // the last search that met the node
  std::vector<NodeId> reached;
  for (size_t root = 0; root < grammar.nodes.size(); ++root) {
    reached.assign(1, static_cast<NodeId>(root));
    seen_by[root] = root + 1;
    const auto reach = [&](NodeId node) {
      if (std::exchange(seen_by[node], root + 1) != root + 1) reached.push_back(node);
    };
    for (size_t i = 0; i < reached.size(); ++i) {
      const Node& node = grammar.nodes[reached[i]];
      size_t symbol_edges = 0;
      for (uint32_t k = 0; k < node.edge_count; ++k) {
        const Edge& edge = grammar.edges[node.first_edge + k];
        const bool reads = edge.kind == Edge::Kind::kSymbols || edge.kind == Edge::Kind::kSpelled;
        symbol_edges += reads;
        if (!reads) reach(edge.target);
        if (edge.kind == Edge::Kind::kCall) reach(edge.value);
      }
      if (reached.size() > kWaysMany || symbol_edges > kSymbolCount) return true;
    }
  }
  return false;
}

// Where calls go, each once.
std::vector<NodeId> PartsOf(const Grammar& grammar) {
  std::vector<NodeId> parts;
  for (const Edge& edge : grammar.edges)
    if (edge.kind == Edge::Kind::kCall) parts.push_back(edge.value);
  std::sort(parts.begin(), parts.end());
  parts.erase(std::unique(parts.begin(), parts.end()), parts.end());
  return parts;
}

// In the order of reading, the shortest texts first. Lowers `work`, down to 0.
void LookAround(Machine& machine, StateId start, size_t states_max, size_t& work) {
  std::vector<StateId> found = {start};
  std::unordered_set<StateId> seen = {start, kDead};
  const auto classes = static_cast<uint16_t>(machine.grammar().class_symbol.size());
  for (size_t i = 0; i < std::min(found.size(), states_max); ++i) {
    for (uint16_t symbol_class = 0; symbol_class < classes; ++symbol_class) {
      const StateId next = machine.StepClass(found[i], symbol_class);
      work -= std::min(work, 1 + machine.places(found[i]) + machine.places(next));
      if (machine.has_left_out() || work == 0) return;
      if (seen.insert(next).second) found.push_back(next);
    }
  }
}

}  // namespace

bool KeepsAllPlaces(const std::shared_ptr<const Grammar>& grammar) {
  if (!HasManyWays(*grammar)) return true;
  Machine machine(grammar, /*mark_is_spelled=*/false);
  size_t work = kSearchWorkMax;
  LookAround(machine, machine.start(), kStatesOfStart, work);
  for (const NodeId part : PartsOf(*grammar)) {
    if (machine.has_left_out() || work == 0) break;
    LookAround(machine, machine.StartOf(part), kStatesOfPart, work);
  }
  return !machine.has_left_out();
}

Error TooManyPlaces() {
  return Error{"more properties or alternatives may come next at one place than can be enforced (" +
               std::to_string(kPlacesMax) + " places)"};
}

}  // namespace fathom::grammar
