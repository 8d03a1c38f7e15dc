#include "text/utf8.h"

#include <cstring>

#include "base/check.h"

namespace fathom::text {
namespace {

using Kind = Utf8Step::Kind;

// What the lead byte demands: the length, and the range of the second byte (which excludes
// overlong forms, surrogates and values past U+10FFFF). Unicode 3.9, table 3-7.
struct Lead {
  int length;
  uint8_t second_min;
  uint8_t second_max;
};

Lead LeadOf(uint8_t byte) {
  if (byte < 0xC2) return {0, 0, 0};
  if (byte < 0xE0) return {2, 0x80, 0xBF};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte < 0xF0) return {3, 0x80, 0xBF};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte < 0xF4) return {4, 0x80, 0xBF};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

// Appends the decoded `bytes` to `out` up to an incomplete tail, which is returned.
std::string_view AppendComplete(std::string& out, std::string_view bytes) {
  while (!bytes.empty()) {
    const auto valid = static_cast<size_t>(ValidUtf8Prefix(bytes));
    out.append(bytes.substr(0, valid));
    bytes.remove_prefix(valid);
    if (bytes.empty()) break;
    const Utf8Step step = NextUtf8(bytes);
    if (step.kind == Kind::kIncomplete) return bytes;
    out += kReplacement;
    bytes.remove_prefix(static_cast<size_t>(step.bytes));
  }
  return {};
}

}  // namespace

Utf8Step NextUtf8(std::string_view bytes) {
  FATHOM_CHECK(!bytes.empty());
  const auto first = static_cast<uint8_t>(bytes[0]);
  if (first < 0x80) return {Kind::kCodePoint, 1, first};
  const Lead lead = LeadOf(first);
  if (lead.length == 0) return {Kind::kIllFormed, 1, 0xFFFD};
  char32_t code_point = first & (0x7F >> lead.length);
  for (int i = 1; i < lead.length; ++i) {
    if (i == std::ssize(bytes)) return {Kind::kIncomplete, i, 0xFFFD};
    const auto byte = static_cast<uint8_t>(bytes[static_cast<size_t>(i)]);
    const uint8_t min = i == 1 ? lead.second_min : 0x80;
    const uint8_t max = i == 1 ? lead.second_max : 0xBF;
    if (byte < min || byte > max) return {Kind::kIllFormed, i, 0xFFFD};
    code_point = (code_point << 6) | (byte & 0x3F);
  }
  return {Kind::kCodePoint, lead.length, code_point};
}

int64_t ValidUtf8Prefix(std::string_view bytes) {
  size_t at = 0;
  while (at < bytes.size()) {
    // Most text is ASCII: eight bytes at a time as long as no high bit is set.
    if (uint64_t word = 0; bytes.size() - at >= sizeof word) {
      std::memcpy(&word, bytes.data() + at, sizeof word);
      if ((word & 0x8080808080808080) == 0) {
        at += sizeof word;
        continue;
      }
    }
    const Utf8Step step = NextUtf8(bytes.substr(at));
    if (step.kind != Kind::kCodePoint) break;
    at += static_cast<size_t>(step.bytes);
  }
  return static_cast<int64_t>(at);
}

bool IsValidUtf8(std::string_view bytes) { return ValidUtf8Prefix(bytes) == std::ssize(bytes); }

std::string DecodeLossy(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  if (!AppendComplete(out, bytes).empty()) out += kReplacement;
  return out;
}

void AppendUtf8(std::string& out, char32_t code_point) {
  const auto put = [&out](char32_t byte) { out += static_cast<char>(byte); };
  if (code_point < 0x80) {
    put(code_point);
  } else if (code_point < 0x800) {
    put(0xC0 | (code_point >> 6));
    put(0x80 | (code_point & 0x3F));
  } else if (code_point > 0x10FFFF || (code_point >= 0xD800 && code_point < 0xE000)) {
    out += kReplacement;
  } else if (code_point < 0x10000) {
    put(0xE0 | (code_point >> 12));
    put(0x80 | ((code_point >> 6) & 0x3F));
    put(0x80 | (code_point & 0x3F));
  } else {
    put(0xF0 | (code_point >> 18));
    put(0x80 | ((code_point >> 12) & 0x3F));
    put(0x80 | ((code_point >> 6) & 0x3F));
    put(0x80 | (code_point & 0x3F));
  }
}

std::string Utf8Stream::Add(std::string_view bytes) {
  std::string out;
  if (pending_.empty()) {
    pending_ = AppendComplete(out, bytes);
    return out;
  }
  const std::string joined = pending_.append(bytes);
  pending_ = AppendComplete(out, joined);
  return out;
}

std::string Utf8Stream::Flush() {
  if (pending_.empty()) return {};
  pending_.clear();
  return std::string(kReplacement);
}

}  // namespace fathom::text
