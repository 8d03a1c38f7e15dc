#include "grammar/automaton/dfa.h"

#include <algorithm>
#include <map>
#include <utility>

#include "grammar/automaton/grammar.h"
#include "text/utf8.h"

namespace fathom::grammar {
namespace {

// All code points to one state.
std::vector<Dfa::Arc> AllTo(int32_t target) {
  return {{0, kSurrogateFirst - 1, target}, {kSurrogateLast + 1, kCodePointMax, target}};
}

// Arcs to the given targets, everything else to `otherwise`; the singles ascend.
std::vector<Dfa::Arc> ArcsWithDefault(const std::map<char32_t, int32_t>& singles,
                                      int32_t otherwise) {
  std::vector<Dfa::Arc> arcs;
  for (const Dfa::Arc& all : AllTo(otherwise)) {
    char32_t at = all.low;
    for (auto it = singles.lower_bound(all.low); it != singles.end() && it->first <= all.high;
         ++it) {
      if (at < it->first) arcs.push_back({at, it->first - 1, otherwise});
      if (it->second >= 0) arcs.push_back({it->first, it->first, it->second});
      at = it->first + 1;
    }
    if (at <= all.high) arcs.push_back({at, all.high, otherwise});
  }
  return arcs;
}

}  // namespace

std::vector<char32_t> CodePoints(std::string_view text) {
  std::vector<char32_t> points;
  while (!text.empty()) {
    const text::Utf8Step step = text::NextUtf8(text);
    points.push_back(step.code_point);
    text.remove_prefix(static_cast<size_t>(step.bytes));
  }
  return points;
}

Dfa AnyString() { return Dfa{{{AllTo(0), true}}}; }

// State i: the last i characters are the first i of the mark. Its first character occurs again only
// as its last, so that a mismatch falls back to state 0 or 1.
Dfa StringsWithoutMark() {
  const std::vector<char32_t> mark = CodePoints(kMarkText);
  Dfa dfa;
  for (size_t i = 0; i < mark.size(); ++i) {
    const bool is_last = i + 1 == mark.size();
    std::map<char32_t, int32_t> singles = {{mark[0], 1}};
    singles[mark[i]] = is_last ? -1 : static_cast<int32_t>(i + 1);
    dfa.states.push_back({ArcsWithDefault(singles, 0), true});
  }
  return dfa;
}

namespace {

// The names as a tree: the children of each node, and whether a name ends there.
struct NameTree {
  std::vector<std::map<char32_t, int32_t>> children{1};
  std::vector<bool> is_name{false};

  explicit NameTree(const std::vector<std::string_view>& names) {
    for (const std::string_view name : names) {
      int32_t at = 0;
      for (const char32_t point : CodePoints(name)) {
        const auto next = static_cast<int32_t>(children.size());
        const auto [it, is_new] = children[at].emplace(point, next);
        at = it->second;
        if (!is_new) continue;
        children.emplace_back();
        is_name.push_back(false);
      }
      is_name[at] = true;
    }
  }
};

}  // namespace

Dfa AllBut(const std::vector<std::string_view>& names) {
  const NameTree tree(names);
  const auto free = static_cast<int32_t>(tree.children.size());
  Dfa dfa;
  for (size_t i = 0; i < tree.children.size(); ++i) {
    dfa.states.push_back({ArcsWithDefault(tree.children[i], free), !tree.is_name[i]});
  }
  dfa.states.push_back({AllTo(free), true});
  return dfa;
}

Dfa OneOf(const std::vector<std::string_view>& names) {
  const NameTree tree(names);
  Dfa dfa;
  for (size_t i = 0; i < tree.children.size(); ++i) {
    Dfa::State state{{}, tree.is_name[i]};
    for (const auto& [point, target] : tree.children[i]) {
      state.arcs.push_back({point, point, target});
    }
    dfa.states.push_back(std::move(state));
  }
  return dfa;
}

std::optional<Dfa> Intersect(const Dfa& a, const Dfa& b) {
  Dfa both;
  if (a.states.empty() || b.states.empty()) return both;
  std::map<std::pair<int32_t, int32_t>, int32_t> ids = {{{0, 0}, 0}};
  std::vector<std::pair<int32_t, int32_t>> pairs = {{0, 0}};
  for (size_t i = 0; i < pairs.size(); ++i) {
    if (pairs.size() > kDfaStatesMax) return std::nullopt;
    const Dfa::State& left = a.states[pairs[i].first];
    const Dfa::State& right = b.states[pairs[i].second];
    Dfa::State state{{}, left.accepts && right.accepts};
    for (size_t l = 0, r = 0; l < left.arcs.size() && r < right.arcs.size();) {
      const Dfa::Arc& x = left.arcs[l];
      const Dfa::Arc& y = right.arcs[r];
      const char32_t low = std::max(x.low, y.low);
      const char32_t high = std::min(x.high, y.high);
      if (low <= high) {
        const std::pair<int32_t, int32_t> target = {x.target, y.target};
        const auto [it, is_new] = ids.emplace(target, static_cast<int32_t>(pairs.size()));
        if (is_new) pairs.push_back(target);
        state.arcs.push_back({low, high, it->second});
      }
      if (x.high < y.high) {
        ++l;
      } else {
        ++r;
      }
    }
    both.states.push_back(std::move(state));
  }
  return Trimmed(both);
}

std::optional<Dfa> WithLength(const Dfa& dfa, int64_t min, int64_t max) {
  // A chain that counts characters, then stays (no limit) or ends.
  const int64_t length = max < 0 ? min : max;
  if (length >= kDfaStatesMax) return std::nullopt;
  Dfa lengths;
  for (int64_t i = 0; i <= length; ++i) {
    const bool is_last = i == length;
    std::vector<Dfa::Arc> arcs;
    if (!is_last || max < 0) arcs = AllTo(static_cast<int32_t>(is_last ? i : i + 1));
    lengths.states.push_back({std::move(arcs), i >= min});
  }
  return Intersect(dfa, lengths);
}

Dfa Trimmed(const Dfa& dfa) {
  const size_t count = dfa.states.size();
  std::vector<std::vector<int32_t>> sources(count);
  std::vector<int32_t> found;
  std::vector<bool> is_live(count);
  for (size_t i = 0; i < count; ++i) {
    for (const Dfa::Arc& arc : dfa.states[i].arcs) {
      sources[arc.target].push_back(static_cast<int32_t>(i));
    }
    if (!dfa.states[i].accepts) continue;
    is_live[i] = true;
    found.push_back(static_cast<int32_t>(i));
  }
  while (!found.empty()) {
    const int32_t state = found.back();
    found.pop_back();
    for (const int32_t source : sources[state]) {
      if (is_live[source]) continue;
      is_live[source] = true;
      found.push_back(source);
    }
  }
  Dfa trimmed;
  if (count == 0 || !is_live[0]) return trimmed;
  std::vector<int32_t> renamed(count);
  int32_t next = 0;
  for (size_t i = 0; i < count; ++i) renamed[i] = is_live[i] ? next++ : -1;
  for (size_t i = 0; i < count; ++i) {
    if (!is_live[i]) continue;
    Dfa::State state{{}, dfa.states[i].accepts};
    for (Dfa::Arc arc : dfa.states[i].arcs) {
      arc.target = renamed[arc.target];
      if (arc.target < 0) continue;
      std::vector<Dfa::Arc>& arcs = state.arcs;
      if (!arcs.empty() && arcs.back().target == arc.target && arcs.back().high + 1 == arc.low) {
        arcs.back().high = arc.high;
      } else {
        arcs.push_back(arc);
      }
    }
    trimmed.states.push_back(std::move(state));
  }
  return trimmed;
}

bool Accepts(const Dfa& dfa, std::string_view text) {
  if (dfa.states.empty()) return false;
  int32_t at = 0;
  for (const char32_t point : CodePoints(text)) {
    const std::vector<Dfa::Arc>& arcs = dfa.states[at].arcs;
    const auto arc = std::find_if(arcs.begin(), arcs.end(), [&](const Dfa::Arc& candidate) {
      return candidate.low <= point && point <= candidate.high;
    });
    if (arc == arcs.end()) return false;
    at = arc->target;
  }
  return dfa.states[at].accepts;
}

}  // namespace fathom::grammar
