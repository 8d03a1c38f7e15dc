// A grammar as a recursive transition network: nodes joined by edges that read symbols, call
// another part of the network and return, or count. The symbols are the bytes and one more for
// DeepSeek's markup token. Built once by a Builder, then immutable; machine.h runs it.
//
// What JSON or DSML look like is not known here.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <memory>
#include <string_view>
#include <vector>

namespace fathom::grammar {

using NodeId = uint32_t;

// Symbols 0 to 255 are bytes; this one is the control token "｜DSML｜".
inline constexpr uint16_t kMark = 256;
inline constexpr int kSymbolCount = 257;
inline constexpr std::string_view kMarkText = "｜DSML｜";

// Calls within calls. A JSON value takes at least one call for each level of nesting, so that no
// document is nested deeper than kJsonDepthMax.
inline constexpr uint16_t kDepthMax = 200;

struct Edge {
  enum class Kind : uint8_t {
    kSymbols,    // reads a symbol from low to high
    kSpelled,    // the same, only where the vocabulary has no token for the mark
    kEpsilon,    // reads nothing
    kCall,       // goes to the node `value`; when that part ends, goes on at the target
    kCount,      // reads nothing; adds one to the counter, up to `value`
    kIfLess,     // reads nothing; passes while the counter is below `value`
    kIfAtLeast,  // reads nothing; passes when the counter is `value` or more
  };
  Kind kind;
  uint16_t low = 0;
  uint16_t high = 0;
  NodeId target;
  uint32_t value = 0;
};

// Kinds of text that are read character by character, so that most tokens are allowed as a whole.
// A token is plain for a kind when each of its characters may stand in that text unescaped.
enum class Plain : uint8_t { kNone, kJsonString, kRawText };
inline constexpr int kPlainKinds = 3;

// How many characters a string may have; nodes of one string share an entry.
struct CharacterLimits {
  uint32_t min = 0;
  uint32_t max = std::numeric_limits<uint32_t>::max();  // this value: no limit
};
inline constexpr uint32_t kNoLimit = std::numeric_limits<uint32_t>::max();

struct Node {
  uint32_t first_edge = 0;
  uint32_t edge_count = 0;
  uint16_t height = 0;         // calls that are at least needed from here to the end of this part
  bool is_end = false;         // this part of the network may end here
  Plain plain = Plain::kNone;  // plain tokens lead to nodes where they are allowed again
  int32_t limits = -1;         // index into Grammar::limits, where the counter counts characters
};

class Grammar {
 public:
  std::vector<Node> nodes;
  std::vector<Edge> edges;
  std::vector<CharacterLimits> limits;
  NodeId start = 0;
  // Symbols that no edge tells apart are one class; a state has one transition for each class.
  std::array<uint16_t, kSymbolCount> symbol_class{};
  std::vector<uint16_t> class_symbol;  // one symbol of each class
};

// Nodes of one grammar; past them the schema is refused.
inline constexpr size_t kNodesMax = 1'500'000;

// Grows up to kNodesMax: then it is full, takes nothing more and is of no use.
class Builder {
 public:
  NodeId AddNode();
  NodeId AddEnd();
  void Symbols(NodeId from, uint16_t low, uint16_t high, NodeId to);
  void Epsilon(NodeId from, NodeId to);
  void Call(NodeId from, NodeId part, NodeId to);
  void Count(NodeId from, uint32_t cap, NodeId to);
  void IfLess(NodeId from, uint32_t value, NodeId to);
  void IfAtLeast(NodeId from, uint32_t value, NodeId to);
  // Reads the text; returns the node after it. Every "｜DSML｜" in it is the mark.
  NodeId Text(NodeId from, std::string_view text);
  void TextTo(NodeId from, std::string_view text, NodeId to);
  NodeId Mark(NodeId from);
  void SetPlain(NodeId node, Plain plain) { nodes_[node].plain = plain; }
  void SetLimits(NodeId node, int32_t limits) { nodes_[node].limits = limits; }
  int32_t AddLimits(CharacterLimits limits);
  bool is_full() const { return nodes_.size() > kNodesMax; }

  // Leaves out what leads nowhere. Null when nothing can be read from `start` to an end, or full.
  std::shared_ptr<const Grammar> Finish(NodeId start);

 private:
  struct Draft {
    std::vector<Edge> edges;
    bool is_end = false;
    Plain plain = Plain::kNone;
    int32_t limits = -1;
  };
  void AddEdge(NodeId from, const Edge& edge);
  std::vector<uint32_t> Heights() const;
  void SetClasses(Grammar& grammar) const;

  std::vector<Draft> nodes_;
  std::vector<CharacterLimits> limits_;
};

}  // namespace fathom::grammar
