// All nodes stand in one hash table by the hash of the path that leads to them, which begins with
// the key; a node found there is compared with its parent and its 128 tokens, so that hashes decide
// speed only. Nodes know their children for two purposes: to say where a prompt diverges, and to
// tell leaves.
//
// Every leaf has a tail. What is evicted is a tail: inside the tree its bytes alone become free, at
// a leaf also the pages up to the next node that has a tail or other children.
#include "cache/prefix_tree.h"

#include <algorithm>
#include <deque>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/check.h"
#include "base/function_ref.h"
#include "base/random.h"

namespace fathom::cache {
namespace {

using model::kPageTokens;
using model::PageRef;

// Paths of evicted tails that are remembered to explain a miss; some 3 MB.
constexpr size_t kGhostsMax = size_t{1} << 16;
// Tokens told either side of where prompts diverge.
constexpr int64_t kTold = 5;

// Every bit of the input reaches every other.
uint64_t Mix(uint64_t x) { return SplitMix64(x).Bits(); }

uint64_t PathHash(uint64_t parent, std::span<const TokenId> page) {
  uint64_t hash = parent;
  for (size_t i = 0; i < page.size(); i += 2) {
    const uint64_t low = static_cast<uint32_t>(page[i]);
    const uint64_t high = i + 1 < page.size() ? static_cast<uint32_t>(page[i + 1]) : 0;
    hash = Mix(hash + (high << 32 | low));
  }
  return hash;
}

// Pages of a prompt that can be found: one token at least must be read for its logits.
int64_t FindablePages(std::span<const TokenId> tokens) {
  return std::max<int64_t>(0, std::ssize(tokens) - 1) / kPageTokens;
}

std::span<const TokenId> PageOf(std::span<const TokenId> tokens, int64_t i) {
  return tokens.subspan(static_cast<size_t>(i * kPageTokens), static_cast<size_t>(kPageTokens));
}

std::vector<TokenId> Around(std::span<const TokenId> tokens, int64_t position) {
  const int64_t begin = std::max<int64_t>(0, position - kTold);
  const int64_t end = std::min(std::ssize(tokens), position + kTold);
  return {tokens.begin() + std::min(begin, end), tokens.begin() + end};
}

struct Node {
  uint64_t hash = 0;  // of the path, the key included
  Node* parent = nullptr;
  int64_t depth = 0;            // pages of the path
  std::vector<TokenId> tokens;  // of its page
  PageRef page;
  Tail tail;
  std::vector<Node*> children;
  uint64_t used = 0;  // when its tail was found or made last
  int64_t hits = 0;   // of its tail
};

// Paths whose tails had to make room, the oldest forgotten first.
class Ghosts {
 public:
  void Add(uint64_t path) {
    if (!paths_.insert(path).second) return;
    order_.push_back(path);
    if (order_.size() <= kGhostsMax) return;
    paths_.erase(order_.front());
    order_.pop_front();
  }
  // One that came back keeps its place in the order: at worst it is forgotten early the next time.
  void Remove(uint64_t path) { paths_.erase(path); }
  bool Has(uint64_t path) const { return paths_.contains(path); }

 private:
  std::unordered_set<uint64_t> paths_;
  std::deque<uint64_t> order_;
};

}  // namespace

struct PrefixTree::State {
  // The nodes of a prompt, root first, as far as it is known; and the last of them with a tail.
  struct Walk {
    Node* root = nullptr;  // null: nothing is stored for the key
    std::vector<Node*> path;
    Node* with_tail = nullptr;
    int64_t limit = 0;  // pages that could be found
  };

  uint64_t RootHash(std::string_view key) const {
    return Mix(std::hash<std::string_view>()(key) ^ seed);
  }
  Node* Child(const Node& parent, std::span<const TokenId> page) const;
  Walk Follow(std::string_view key, std::span<const TokenId> tokens, int64_t limit) const;
  Prefix PrefixOf(const Walk& walk) const;
  Miss Explain(std::string_view key, std::span<const TokenId> tokens, const Walk& walk) const;
  Miss Diverged(std::span<const TokenId> tokens, const Node& node) const;
  bool OthersBeginWith(const Node* own, std::span<const TokenId> page) const;
  Node& AddChild(Node& parent, std::span<const TokenId> page, PageRef ref);
  double ValueOf(const Node& node) const;
  int64_t DropTail(Node& node);
  int64_t RemoveLeaf(Node& leaf);
  int64_t EvictWhile(FunctionRef<bool(int64_t freed)> wants_more);

  int64_t page_bytes = 0;
  int64_t bytes_max = 0;
  uint64_t seed = 0;  // so that nobody can choose tokens whose hashes collide
  uint64_t now = 0;   // lookups and insertions
  std::unordered_map<std::string, std::unique_ptr<Node>> roots;  // by key; no page, depth 0
  std::unordered_multimap<uint64_t, std::unique_ptr<Node>> nodes;
  Ghosts ghosts;
  TreeStats stats;
};

Node* PrefixTree::State::Child(const Node& parent, std::span<const TokenId> page) const {
  const auto [first, last] = nodes.equal_range(PathHash(parent.hash, page));
  for (auto it = first; it != last; ++it) {
    Node* node = it->second.get();
    if (node->parent == &parent && std::ranges::equal(node->tokens, page)) return node;
  }
  return nullptr;
}

PrefixTree::State::Walk PrefixTree::State::Follow(std::string_view key,
                                                  std::span<const TokenId> tokens,
                                                  int64_t limit) const {
  Walk walk;
  walk.limit = limit;
  const auto found = roots.find(std::string(key));
  if (found == roots.end()) return walk;
  walk.root = found->second.get();
  Node* at = walk.root;
  for (int64_t i = 0; i < limit; ++i) {
    at = Child(*at, PageOf(tokens, i));
    if (at == nullptr) break;
    walk.path.push_back(at);
    if (at->tail != nullptr) walk.with_tail = at;
  }
  return walk;
}

Prefix PrefixTree::State::PrefixOf(const Walk& walk) const {
  Prefix prefix;
  if (walk.with_tail == nullptr) return prefix;
  prefix.tokens = walk.with_tail->depth * kPageTokens;
  prefix.tail = walk.with_tail->tail;
  for (int64_t i = 0; i < walk.with_tail->depth; ++i)
    prefix.pages.push_back(walk.path[static_cast<size_t>(i)]->page);
  return prefix;
}

// What is known for certain comes first: that it was there and is not any more.
Miss PrefixTree::State::Explain(std::string_view key, std::span<const TokenId> tokens,
                                const Walk& walk) const {
  const int64_t found = walk.with_tail == nullptr ? 0 : walk.with_tail->depth;
  if (found == walk.limit) return {};
  const int64_t matched = std::ssize(walk.path);
  uint64_t path = found > 0 ? walk.with_tail->hash : RootHash(key);
  for (int64_t i = found; i < walk.limit; ++i) {
    path =
        i < matched ? walk.path[static_cast<size_t>(i)]->hash : PathHash(path, PageOf(tokens, i));
    if (ghosts.Has(path)) return {.reason = Miss::Reason::kEvicted};
  }
  const Node* last = matched > 0 ? walk.path.back() : walk.root;
  if (matched == 0 && OthersBeginWith(walk.root, PageOf(tokens, 0)))
    return {.reason = Miss::Reason::kOtherKey};
  if (last != nullptr && !last->children.empty()) {
    Miss miss = Diverged(tokens, *last);
    // Another text altogether is no continuation that went differently.
    if (miss.position > 0) return miss;
  }
  if (matched == 0) return {.reason = Miss::Reason::kCold};
  return {};
}

// From the child that goes along with the prompt longest.
Miss PrefixTree::State::Diverged(std::span<const TokenId> tokens, const Node& node) const {
  const int64_t begin = node.depth * kPageTokens;
  const std::span<const TokenId> rest = tokens.subspan(static_cast<size_t>(begin));
  const Node* nearest = nullptr;
  int64_t common = -1;
  for (const Node* child : node.children) {
    const int64_t count = std::ranges::mismatch(child->tokens, rest).in1 - child->tokens.begin();
    if (count > common) nearest = child, common = count;
  }
  Miss miss{.reason = Miss::Reason::kDiverged, .position = begin + common};
  // As far back as the page before, which both have in common.
  std::vector<TokenId> stored = node.tokens;
  stored.insert(stored.end(), nearest->tokens.begin(), nearest->tokens.end());
  miss.stored = Around(stored, std::ssize(node.tokens) + common);
  miss.wanted = Around(tokens, miss.position);
  return miss;
}

bool PrefixTree::State::OthersBeginWith(const Node* own, std::span<const TokenId> page) const {
  return std::any_of(roots.begin(), roots.end(), [&](const auto& entry) {
    return entry.second.get() != own && Child(*entry.second, page) != nullptr;
  });
}

Node& PrefixTree::State::AddChild(Node& parent, std::span<const TokenId> page, PageRef ref) {
  auto node = std::make_unique<Node>();
  node->hash = PathHash(parent.hash, page);
  node->parent = &parent;
  node->depth = parent.depth + 1;
  node->tokens.assign(page.begin(), page.end());
  node->page = std::move(ref);
  parent.children.push_back(node.get());
  stats.nodes += 1;
  stats.bytes += page_bytes;
  return *nodes.emplace(node->hash, std::move(node))->second;
}

// Tokens that would have to be read again, times how often that was asked for, for each byte that
// would become free and the time that nobody asked.
double PrefixTree::State::ValueOf(const Node& node) const {
  int64_t bytes = std::ssize(*node.tail);
  const Node* at = &node;
  for (bool goes = node.children.empty(); at->depth > 0 && (at == &node || at->tail == nullptr);
       at = at->parent) {
    goes = goes && (at == &node || at->children.size() == 1);
    if (goes && at->page.is_only()) bytes += page_bytes;
  }
  const auto tokens = static_cast<double>((node.depth - at->depth) * kPageTokens);
  const auto age = static_cast<double>(now - node.used + 1);
  return tokens * static_cast<double>(1 + node.hits) / (static_cast<double>(bytes) * age);
}

int64_t PrefixTree::State::DropTail(Node& node) {
  const int64_t bytes = std::ssize(*node.tail);
  int64_t freed = node.tail.use_count() == 1 ? bytes : 0;
  node.tail.reset();
  node.hits = 0;
  ghosts.Add(node.hash);
  stats.tails -= 1;
  stats.bytes -= bytes;
  stats.tail_bytes -= bytes;
  stats.evictions += 1;
  for (Node* at = &node; at->depth > 0 && at->tail == nullptr && at->children.empty();) {
    Node* parent = at->parent;
    freed += RemoveLeaf(*at);
    at = parent;
  }
  return freed;
}

int64_t PrefixTree::State::RemoveLeaf(Node& leaf) {
  const int64_t freed = leaf.page.is_only() ? page_bytes : 0;
  std::erase(leaf.parent->children, &leaf);
  stats.nodes -= 1;
  stats.bytes -= page_bytes;
  const auto [first, last] = nodes.equal_range(leaf.hash);
  nodes.erase(
      std::find_if(first, last, [&](const auto& entry) { return entry.second.get() == &leaf; }));
  return freed;
}

// Values are those before the first goes: that a node becomes a leaf makes it cheaper to keep by
// what it then frees, which the next search sees.
int64_t PrefixTree::State::EvictWhile(FunctionRef<bool(int64_t freed)> wants_more) {
  std::vector<std::pair<double, Node*>> heap;  // least value first
  for (const auto& [hash, node] : nodes)
    if (node->tail != nullptr) heap.emplace_back(-ValueOf(*node), node.get());
  std::make_heap(heap.begin(), heap.end());
  int64_t freed = 0;
  while (!heap.empty() && wants_more(freed)) {
    std::pop_heap(heap.begin(), heap.end());
    freed += DropTail(*heap.back().second);
    heap.pop_back();
  }
  std::erase_if(roots, [](const auto& entry) { return entry.second->children.empty(); });
  return freed;
}

PrefixTree::PrefixTree(int64_t page_bytes, int64_t bytes_max) : state_(std::make_unique<State>()) {
  state_->page_bytes = page_bytes;
  state_->bytes_max = bytes_max;
  state_->seed = RandomFromSystem();
}

PrefixTree::~PrefixTree() = default;

Prefix PrefixTree::Find(std::string_view key, std::span<const TokenId> tokens) {
  State& s = *state_;
  const State::Walk walk = s.Follow(key, tokens, FindablePages(tokens));
  Prefix prefix = s.PrefixOf(walk);
  prefix.miss = s.Explain(key, tokens, walk);
  s.now += 1;
  if (walk.with_tail == nullptr) {
    s.stats.misses += 1;
    return prefix;
  }
  s.stats.hits += 1;
  walk.with_tail->hits += 1;
  walk.with_tail->used = s.now;
  return prefix;
}

Prefix PrefixTree::Peek(std::string_view key, std::span<const TokenId> tokens) const {
  return state_->PrefixOf(state_->Follow(key, tokens, FindablePages(tokens)));
}

int64_t PrefixTree::Depth(std::string_view key, std::span<const TokenId> tokens) const {
  const State::Walk walk = state_->Follow(key, tokens, std::ssize(tokens) / kPageTokens);
  return walk.with_tail == nullptr ? 0 : walk.with_tail->depth * kPageTokens;
}

void PrefixTree::Insert(std::string_view key, std::span<const TokenId> tokens,
                        std::span<const PageRef> pages, Tail tail) {
  State& s = *state_;
  const int64_t count = std::ssize(pages);
  FATHOM_CHECK(count > 0 && std::ssize(tokens) == count * kPageTokens && tail != nullptr);
  if (count * s.page_bytes + std::ssize(*tail) > s.bytes_max) return;
  s.now += 1;
  auto& root = s.roots[std::string(key)];
  if (root == nullptr) {
    root = std::make_unique<Node>();
    root->hash = s.RootHash(key);
  }
  Node* at = root.get();
  for (int64_t i = 0; i < count; ++i) {
    const std::span<const TokenId> page = PageOf(tokens, i);
    Node* child = s.Child(*at, page);
    at = child != nullptr ? child : &s.AddChild(*at, page, pages[static_cast<size_t>(i)]);
  }
  at->used = s.now;
  if (at->tail == nullptr) {
    s.stats.tails += 1;
    s.stats.bytes += std::ssize(*tail);
    s.stats.tail_bytes += std::ssize(*tail);
    at->tail = std::move(tail);
    s.ghosts.Remove(at->hash);
  }
  // What was added existed already, in the sequence that it comes from: the budget is kept
  // afterwards. A little more than needed, so that the search for the least value is not repeated
  // for every insertion.
  if (s.stats.bytes > s.bytes_max)
    s.EvictWhile([&](int64_t) { return s.stats.bytes > s.bytes_max - s.bytes_max / 256; });
}

int64_t PrefixTree::Evict(int64_t bytes) {
  return state_->EvictWhile([&](int64_t freed) { return freed < bytes; });
}

int64_t PrefixTree::Evictable() const {
  int64_t bytes = 0;
  for (const auto& [hash, node] : state_->nodes) {
    if (node->page.is_only()) bytes += state_->page_bytes;
    if (node->tail.use_count() == 1) bytes += std::ssize(*node->tail);
  }
  return bytes;
}

const TreeStats& PrefixTree::stats() const { return state_->stats; }

}  // namespace fathom::cache
