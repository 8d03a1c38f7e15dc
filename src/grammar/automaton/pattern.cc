// A pattern is read into a tree, the tree becomes a nondeterministic automaton (Thompson), and that
// a deterministic one by the subset construction over classes of code points. Not being anchored is
// a loop over everything before and after; ^ and $ are steps without a character that are open at
// the start and at the end only.
#include "grammar/automaton/pattern.h"

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "grammar/automaton/pattern_parser.h"

namespace fathom::grammar {
namespace {

constexpr int32_t kNfaNodesMax = 50'000;
// Visits of nodes while an automaton is made: a fraction of a second.
constexpr int64_t kWorkMax = 10'000'000;

struct NfaNode {
  enum class Kind { kEpsilon, kSet, kBegin, kEnd };
  Kind kind = Kind::kEpsilon;
  std::vector<int32_t> next;
  int32_t set = -1;  // index of the code points read
};

class Nfa {
 public:
  Nfa() {
    sets_.push_back({{0, kCodePointMax}});
    const int32_t before = Set(0);
    start_ = Node({before});
    nodes_[before].next = {start_};
  }

  // False when it becomes too large.
  bool Build(const PatternNode& pattern) {
    const int32_t end = Node({});
    accept_ = end;
    const int32_t after = Set(0);
    nodes_[after].next = {end};
    nodes_[end].next = {after};
    const int32_t first = Emit(pattern, end);
    nodes_[start_].next.push_back(first);
    return size() <= kNfaNodesMax;
  }

  std::optional<Dfa> Determinise() const;

 private:
  int32_t size() const { return static_cast<int32_t>(nodes_.size()); }
  int32_t Node(std::vector<int32_t> next) {
    nodes_.push_back({NfaNode::Kind::kEpsilon, std::move(next)});
    return size() - 1;
  }
  int32_t Set(int32_t set) {
    nodes_.push_back({NfaNode::Kind::kSet, {}, set});
    return size() - 1;
  }
  int32_t Emit(const PatternNode& pattern, int32_t then);
  int32_t EmitRepeat(const PatternNode& pattern, int32_t then);
  std::vector<int32_t> Closure(std::vector<int32_t> nodes, bool at_start, bool at_end) const;
  std::vector<char32_t> Boundaries() const;
  bool Reads(int32_t node, char32_t point) const;

  std::vector<NfaNode> nodes_;
  std::vector<std::vector<CodePointRange>> sets_;
  int32_t start_ = 0;
  int32_t accept_ = 0;
};

// The node from which the pattern and then `then` is read.
int32_t Nfa::Emit(const PatternNode& pattern, int32_t then) {
  if (size() > kNfaNodesMax) return then;
  switch (pattern.kind) {
    case PatternNode::Kind::kSet: {
      sets_.push_back(pattern.ranges);
      const int32_t node = Set(static_cast<int32_t>(sets_.size() - 1));
      nodes_[node].next = {then};
      return node;
    }
    case PatternNode::Kind::kSequence:
      for (auto part = pattern.parts.rbegin(); part != pattern.parts.rend(); ++part) {
        then = Emit(**part, then);
      }
      return then;
    case PatternNode::Kind::kChoice: {
      std::vector<int32_t> next;
      for (const auto& part : pattern.parts) next.push_back(Emit(*part, then));
      return Node(std::move(next));
    }
    case PatternNode::Kind::kBegin:
    case PatternNode::Kind::kEnd: {
      const int32_t node = Node({then});
      nodes_[node].kind =
          pattern.kind == PatternNode::Kind::kBegin ? NfaNode::Kind::kBegin : NfaNode::Kind::kEnd;
      return node;
    }
    case PatternNode::Kind::kRepeat:
      return EmitRepeat(pattern, then);
  }
  return then;
}

int32_t Nfa::EmitRepeat(const PatternNode& pattern, int32_t then) {
  const PatternNode& part = *pattern.parts.front();
  if (pattern.max < 0) {
    const int32_t loop = Node({then});
    const int32_t again = Emit(part, loop);
    nodes_[loop].next.push_back(again);
    then = loop;
  } else {
    const int32_t end = then;
    for (int64_t i = pattern.min; i < pattern.max && size() <= kNfaNodesMax; ++i) {
      const int32_t more = Emit(part, then);
      then = Node({more, end});
    }
  }
  for (int64_t i = 0; i < pattern.min && size() <= kNfaNodesMax; ++i) then = Emit(part, then);
  return then;
}

std::vector<int32_t> Nfa::Closure(std::vector<int32_t> nodes, bool at_start, bool at_end) const {
  std::set<int32_t> seen(nodes.begin(), nodes.end());
  while (!nodes.empty()) {
    const NfaNode& node = nodes_[nodes.back()];
    nodes.pop_back();
    const bool passes = node.kind == NfaNode::Kind::kEpsilon ||
                        (node.kind == NfaNode::Kind::kBegin && at_start) ||
                        (node.kind == NfaNode::Kind::kEnd && at_end);
    if (!passes) continue;
    for (const int32_t next : node.next) {
      if (seen.insert(next).second) nodes.push_back(next);
    }
  }
  // Past the end of the pattern everything is accepted: what else is possible does not matter.
  if (!at_end && seen.contains(accept_)) seen = {accept_, nodes_[accept_].next.front()};
  return {seen.begin(), seen.end()};
}

// Where the answer to "which sets hold this code point" may change.
std::vector<char32_t> Nfa::Boundaries() const {
  std::set<char32_t> begins = {0, kSurrogateFirst, kSurrogateLast + 1};
  for (const auto& set : sets_) {
    for (const CodePointRange& range : set) {
      begins.insert(range.low);
      if (range.high < kCodePointMax) begins.insert(range.high + 1);
    }
  }
  return {begins.begin(), begins.end()};
}

bool Nfa::Reads(int32_t node, char32_t point) const {
  if (nodes_[node].kind != NfaNode::Kind::kSet) return false;
  const auto& ranges = sets_[nodes_[node].set];
  return std::any_of(ranges.begin(), ranges.end(), [&](const CodePointRange& range) {
    return range.low <= point && point <= range.high;
  });
}

std::optional<Dfa> Nfa::Determinise() const {
  const std::vector<char32_t> begins = Boundaries();
  std::map<std::vector<int32_t>, int32_t> ids;
  std::vector<std::vector<int32_t>> sets = {Closure({start_}, true, false)};
  ids[sets[0]] = 0;
  Dfa dfa;
  int64_t work = 0;
  for (size_t i = 0; i < sets.size(); ++i) {
    const std::vector<int32_t> set = sets[i];
    work += static_cast<int64_t>(set.size() * begins.size());
    if (work > kWorkMax || sets.size() > kDfaStatesMax) return std::nullopt;
    const std::vector<int32_t> at_end = Closure(set, i == 0, true);
    Dfa::State state;
    state.accepts = std::binary_search(at_end.begin(), at_end.end(), accept_);
    for (size_t b = 0; b < begins.size(); ++b) {
      if (begins[b] == kSurrogateFirst) continue;
      std::vector<int32_t> next;
      for (const int32_t node : set) {
        if (Reads(node, begins[b])) {
          next.insert(next.end(), nodes_[node].next.begin(), nodes_[node].next.end());
        }
      }
      if (next.empty()) continue;
      next = Closure(std::move(next), false, false);
      work += static_cast<int64_t>(next.size());
      const auto [it, is_new] = ids.emplace(next, static_cast<int32_t>(sets.size()));
      if (is_new) sets.push_back(std::move(next));
      const char32_t high = b + 1 < begins.size() ? begins[b + 1] - 1 : kCodePointMax;
      state.arcs.push_back({begins[b], high, it->second});
    }
    dfa.states.push_back(std::move(state));
  }
  return Trimmed(dfa);
}

}  // namespace

Result<Dfa> CompilePattern(std::string_view pattern) {
  FATHOM_TRY(const std::unique_ptr<PatternNode> tree, ParsePattern(pattern));
  Nfa nfa;
  std::optional<Dfa> dfa;
  if (nfa.Build(*tree)) dfa = nfa.Determinise();
  if (!dfa) return Error{"pattern '" + std::string(pattern) + "' is too complex to enforce"};
  return *std::move(dfa);
}

const char* PatternOfFormat(std::string_view format) {
  static const std::map<std::string_view, std::string> patterns = [] {
    const std::string label = "[A-Za-z0-9]([A-Za-z0-9-]{0,28}[A-Za-z0-9])?";
    const std::string atom = "[A-Za-z0-9_+-]";
    const std::string byte = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";
    const std::string hex = "[0-9a-fA-F]{1,4}";
    const std::string date =
        "([0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|"
        "02-(0[1-9]|1[0-9]|2[0-8]))|([0-9]{2}(0[48]|[2468][048]|[13579][26])|"
        "([02468][048]|[13579][26])00)-02-29)";
    const std::string clock = "([01][0-9]|2[0-3]):[0-5][0-9]";
    const std::string time = clock + ":[0-5][0-9](\\.[0-9]{1,9})?(Z|[+-]" + clock + ")";
    std::string ipv6 = "(" + hex + ":){7}" + hex;
    for (int before = 0; before <= 6; ++before) {
      // "::" stands for at least two groups of zeros.
      const std::string left =
          before == 0 ? "" : hex + "(:" + hex + "){" + std::to_string(before - 1) + "}";
      const int after = 6 - before;
      ipv6 += "|" + left + "::";
      if (after > 0) ipv6 += "(" + hex + "(:" + hex + "){0," + std::to_string(after - 1) + "})?";
    }
    return std::map<std::string_view, std::string>{
        {"email",
         "^" + atom + "{1,32}(\\." + atom + "{1,31})?@(" + label + "\\.){1,4}[a-z]{2,10}$"},
        {"hostname", "^" + label + "(\\." + label + "){0,7}$"},
        {"ipv4", "^" + byte + "(\\." + byte + "){3}$"},
        {"ipv6", "^(" + ipv6 + ")$"},
        {"uuid", "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"},
        {"date", "^" + date + "$"},
        {"time", "^" + time + "$"},
        {"date-time", "^" + date + "T" + time + "$"},
    };
  }();
  const auto it = patterns.find(format);
  return it == patterns.end() ? nullptr : it->second.c_str();
}

}  // namespace fathom::grammar
