#include "cache/disk_format.h"

#include <fmt/format.h>

#include <bit>
#include <cstring>
#include <type_traits>

// As a header alone: the cross build has no library to link.
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/check.h"

namespace fathom::cache {
namespace {

static_assert(std::endian::native == std::endian::little, "records are written as memory has them");

constexpr std::string_view kMagic = "fathomKV";

// Offsets of the fields; the checksum is of the whole header with zeros in its own place.
constexpr size_t kVersionAt = 8;
constexpr size_t kHeaderBytesAt = 12;
constexpr size_t kHeaderChecksumAt = 16;
constexpr size_t kPayloadBytesAt = 24;
constexpr size_t kPayloadChecksumAt = 32;
constexpr size_t kFingerprintAt = 40;
constexpr size_t kKeyHashAt = 48;
constexpr size_t kChainAt = 56;
constexpr size_t kParentAt = 72;
constexpr size_t kTokensAt = 88;
constexpr size_t kWrittenAt = 96;
constexpr size_t kKindAt = 104;
constexpr size_t kIdsAt = 112;
static_assert(kIdsAt + sizeof(RecordHeader::ids) <= kRecordHeaderBytes);

template <typename T>
void Put(HeaderBytes& bytes, size_t at, const T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  std::memcpy(bytes.data() + at, &value, sizeof(T));
}

template <typename T>
T Get(const HeaderBytes& bytes, size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof(T));
  return value;
}

uint64_t HeaderChecksum(HeaderBytes bytes) {
  Put(bytes, kHeaderChecksumAt, uint64_t{0});
  return Checksum(bytes);
}

XXH3_state_t* State(void* state) { return static_cast<XXH3_state_t*>(state); }

}  // namespace

HeaderBytes EncodeHeader(const RecordHeader& header) {
  HeaderBytes bytes{};
  std::memcpy(bytes.data(), kMagic.data(), kMagic.size());
  Put(bytes, kVersionAt, kDiskFormatVersion);
  Put(bytes, kHeaderBytesAt, static_cast<uint32_t>(kRecordHeaderBytes));
  Put(bytes, kPayloadBytesAt, header.payload_bytes);
  Put(bytes, kPayloadChecksumAt, header.payload_checksum);
  Put(bytes, kFingerprintAt, header.fingerprint);
  Put(bytes, kKeyHashAt, header.key_hash);
  Put(bytes, kChainAt, header.chain);
  Put(bytes, kParentAt, header.parent);
  Put(bytes, kTokensAt, header.tokens);
  Put(bytes, kWrittenAt, header.written_s);
  Put(bytes, kKindAt, header.kind);
  Put(bytes, kIdsAt, header.ids);
  Put(bytes, kHeaderChecksumAt, HeaderChecksum(bytes));
  return bytes;
}

HeaderOrProblem ParseHeader(const HeaderBytes& bytes) {
  if (!HasMagic(bytes)) return {std::nullopt, "no record begins here"};
  const auto version = Get<uint32_t>(bytes, kVersionAt);
  if (version != kDiskFormatVersion) {
    return {std::nullopt,
            fmt::format("format version {}, expected {}", version, kDiskFormatVersion)};
  }
  if (Get<uint64_t>(bytes, kHeaderChecksumAt) != HeaderChecksum(bytes)) {
    return {std::nullopt, "a header with a wrong checksum"};
  }
  RecordHeader header;
  header.payload_bytes = Get<int64_t>(bytes, kPayloadBytesAt);
  header.payload_checksum = Get<uint64_t>(bytes, kPayloadChecksumAt);
  header.fingerprint = Get<uint64_t>(bytes, kFingerprintAt);
  header.key_hash = Get<uint64_t>(bytes, kKeyHashAt);
  header.chain = Get<Hash128>(bytes, kChainAt);
  header.parent = Get<Hash128>(bytes, kParentAt);
  header.tokens = Get<int64_t>(bytes, kTokensAt);
  header.written_s = Get<int64_t>(bytes, kWrittenAt);
  const auto kind = Get<uint32_t>(bytes, kKindAt);
  header.kind = kind == 0 ? RecordKind::kPage : RecordKind::kTail;
  header.ids = Get<decltype(header.ids)>(bytes, kIdsAt);
  // With a right checksum these are the work of another program.
  if (Get<uint32_t>(bytes, kHeaderBytesAt) != kRecordHeaderBytes || kind > 1 ||
      header.payload_bytes < 0 || header.payload_bytes > kPayloadBytesMax || header.tokens <= 0 ||
      header.tokens % model::kPageTokens != 0 || header.written_s < 0) {
    return {std::nullopt, "a header with impossible values"};
  }
  return {header, ""};
}

bool HasMagic(std::span<const std::byte> bytes) {
  return bytes.size() >= kMagic.size() &&
         std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) == 0;
}

int64_t RecordBytes(int64_t payload_bytes) {
  const int64_t bytes = kRecordHeaderBytes + payload_bytes;
  return (bytes + kRecordAlignment - 1) / kRecordAlignment * kRecordAlignment;
}

uint64_t Checksum(std::span<const std::byte> bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}

uint64_t HashKey(std::string_view key) { return XXH3_64bits(key.data(), key.size()); }

Hash128 ChainStart(uint64_t fingerprint, std::string_view key) {
  const XXH128_hash_t hash = XXH3_128bits_withSeed(key.data(), key.size(), fingerprint);
  return {hash.low64, hash.high64};
}

Hash128 ChainNext(const Hash128& parent, std::span<const TokenId> page_ids) {
  FATHOM_CHECK_EQ(std::ssize(page_ids), model::kPageTokens);
  std::array<std::byte, sizeof(Hash128) + sizeof(RecordHeader::ids)> bytes;
  std::memcpy(bytes.data(), &parent, sizeof(parent));
  std::memcpy(bytes.data() + sizeof(parent), page_ids.data(), page_ids.size_bytes());
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return {hash.low64, hash.high64};
}

Hasher::Hasher() : state_(XXH3_createState()) {
  FATHOM_CHECK(state_ != nullptr, "no memory");
  XXH3_64bits_reset(State(state_));
}
Hasher::~Hasher() { XXH3_freeState(State(state_)); }
void Hasher::Add(std::span<const std::byte> bytes) {
  XXH3_64bits_update(State(state_), bytes.data(), bytes.size());
}
void Hasher::Add(std::string_view text) { Add(std::as_bytes(std::span(text))); }
void Hasher::Add(int64_t number) { Add(std::as_bytes(std::span(&number, 1))); }
uint64_t Hasher::Value() const { return XXH3_64bits_digest(State(state_)); }

}  // namespace fathom::cache
