// The bytes of one record of the disk tier, and the hashes it is found by; docs/formats/cache.md is
// the same in words. Nothing here touches a file.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/types.h"
#include "model/pages.h"

namespace fathom::cache {

// Also to be raised when the inside of a page or a tail changes and its size does not.
inline constexpr uint32_t kDiskFormatVersion = 1;
inline constexpr int64_t kRecordHeaderBytes = 640;
// Records begin at multiples of this, so that a search for the next one need not look at every
// byte.
inline constexpr int64_t kRecordAlignment = 64;
// No page or tail comes near: a longer payload is damage.
inline constexpr int64_t kPayloadBytesMax = int64_t{1} << 36;

struct Hash128 {
  uint64_t low = 0, high = 0;
  bool operator==(const Hash128&) const = default;
};

enum class RecordKind : uint32_t { kPage = 0, kTail = 1 };

// What the index knows a record by.
struct RecordKey {
  Hash128 chain;
  RecordKind kind = RecordKind::kPage;
  bool operator==(const RecordKey&) const = default;
};
struct RecordKeyHash {
  size_t operator()(const RecordKey& key) const {
    return static_cast<size_t>(key.chain.low) ^ static_cast<size_t>(key.kind);
  }
};

struct RecordHeader {
  int64_t payload_bytes = 0;
  uint64_t payload_checksum = 0;
  uint64_t fingerprint = 0;
  uint64_t key_hash = 0;
  Hash128 chain;          // of the prefix that ends with this record's page
  Hash128 parent;         // of the prefix without that page
  int64_t tokens = 0;     // length of the prefix, a multiple of 128
  int64_t written_s = 0;  // seconds since 1970, not negative
  RecordKind kind = RecordKind::kPage;
  std::array<TokenId, model::kPageTokens> ids{};  // of the prefix's last page

  bool operator==(const RecordHeader&) const = default;
};

using HeaderBytes = std::array<std::byte, kRecordHeaderBytes>;
HeaderBytes EncodeHeader(const RecordHeader& header);

struct HeaderOrProblem {
  std::optional<RecordHeader> header;
  std::string problem;  // without a header: what is wrong with the bytes
};
HeaderOrProblem ParseHeader(const HeaderBytes& bytes);
// A record may begin here.
bool HasMagic(std::span<const std::byte> bytes);

// Header, payload and the zeros up to the next record.
int64_t RecordBytes(int64_t payload_bytes);

uint64_t Checksum(std::span<const std::byte> bytes);
uint64_t HashKey(std::string_view key);
// The chain of no tokens, and the chain with one page more.
Hash128 ChainStart(uint64_t fingerprint, std::string_view key);
Hash128 ChainNext(const Hash128& parent, std::span<const TokenId> page_ids);

// A checksum in pieces.
class Hasher {
 public:
  Hasher();
  Hasher(const Hasher&) = delete;
  Hasher& operator=(const Hasher&) = delete;
  ~Hasher();
  void Add(std::span<const std::byte> bytes);
  void Add(std::string_view text);
  void Add(int64_t number);
  uint64_t Value() const;

 private:
  void* state_;  // the library's
};

}  // namespace fathom::cache
