#include "server/known_text.h"

#include <algorithm>
#include <utility>

#include "base/random.h"

namespace fathom::server {
namespace {

constexpr uint64_t kPrime = (uint64_t{1} << 61) - 1;

uint64_t MultiplyModPrime(uint64_t a, uint64_t b) {
  const auto product = static_cast<unsigned __int128>(a) * b;
  const uint64_t sum =
      static_cast<uint64_t>(product & kPrime) + static_cast<uint64_t>(product >> 61);
  return sum >= kPrime ? sum - kPrime : sum;
}

// What an entry takes beside its ids: itself, list and table.
constexpr int64_t kEntryBytes = 160;

}  // namespace

// The sums of a text as it grows.
class KnownText::Summer {
 public:
  explicit Summer(const uint64_t (&bases)[2]) : bases_(bases) {}
  void Add(std::string_view text) {
    for (const char c : text)
      for (int i = 0; i < 2; ++i)
        sums_[i] =
            (MultiplyModPrime(sums_[i], bases_[i]) + static_cast<unsigned char>(c) + 1) % kPrime;
  }
  Mark At(int64_t bytes) const { return {{sums_[0], sums_[1]}, bytes}; }

 private:
  const uint64_t (&bases_)[2];
  uint64_t sums_[2] = {1, 1};
};

KnownText::KnownText(int64_t bytes_max) : bytes_max_(bytes_max) {
  for (uint64_t& base : bases_) base = RandomFromSystem() % (kPrime - 1024) + 512;
}

KnownText::Mark KnownText::MarkOf(std::string_view owner, std::string_view text) const {
  Summer summer(bases_);
  summer.Add(owner);
  summer.Add(std::string_view("\0", 1));
  summer.Add(text);
  return summer.At(std::ssize(text));
}

std::optional<std::vector<TokenId>> KnownText::IdsOf(const Mark& mark) {
  std::vector<Entries::iterator> chain;
  for (Mark at = mark; at.bytes > 0;) {
    const auto found = index_.find(at);
    if (found == index_.end()) return std::nullopt;
    chain.push_back(found->second);
    at = found->second->parent;
  }
  std::vector<TokenId> ids;
  for (auto at = chain.rbegin(); at != chain.rend(); ++at)
    ids.insert(ids.end(), (*at)->ids.begin(), (*at)->ids.end());
  // Used now; parents after their children, so that they leave later.
  for (const Entries::iterator entry : chain) entries_.splice(entries_.begin(), entries_, entry);
  return ids;
}

KnownText::Found KnownText::Find(std::string_view owner, std::string_view text,
                                 std::string_view end) {
  std::vector<Mark> marks;
  Summer summer(bases_);
  summer.Add(owner);
  summer.Add(std::string_view("\0", 1));
  size_t at = 0;
  for (size_t begin = text.find(end); begin != text.npos; begin = text.find(end, at)) {
    summer.Add(text.substr(at, begin + end.size() - at));
    at = begin + end.size();
    marks.push_back(summer.At(static_cast<int64_t>(at)));
  }
  const std::lock_guard lock(mutex_);
  for (auto mark = marks.rbegin(); mark != marks.rend(); ++mark)
    if (auto ids = IdsOf(*mark)) return {*mark, *std::move(ids)};
  return {};
}

void KnownText::Remember(std::string_view owner, std::string_view text,
                         std::span<const TokenId> ids, const Found& parent) {
  const size_t known = parent.ids.size();
  if (ids.size() < known || !std::equal(parent.ids.begin(), parent.ids.end(), ids.begin())) return;
  Entry entry;
  entry.mark = MarkOf(owner, text);
  entry.parent = parent.mark;
  entry.ids.assign(ids.begin() + static_cast<int64_t>(known), ids.end());
  const std::lock_guard lock(mutex_);
  if (index_.contains(entry.mark)) return;
  bytes_ += std::ssize(entry.ids) * static_cast<int64_t>(sizeof(TokenId)) + kEntryBytes;
  entries_.push_front(std::move(entry));
  index_[entries_.front().mark] = entries_.begin();
  while (bytes_ > bytes_max_ && !entries_.empty()) {
    const Entry& last = entries_.back();
    bytes_ -= std::ssize(last.ids) * static_cast<int64_t>(sizeof(TokenId)) + kEntryBytes;
    index_.erase(last.mark);
    entries_.pop_back();
  }
}

int64_t KnownText::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

}  // namespace fathom::server
