#include "tokenizer/stages/byte_level.h"

#include "text/utf8.h"

namespace fathom::tokenizer {
namespace {

// Bytes that are written as themselves: printable in Latin-1, without spaces and the soft hyphen.
constexpr bool IsPlain(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

// One past the last character of the alphabet: 256 - 188 plain bytes.
constexpr char32_t kAlphabetEnd = 0x100 + 68;

constexpr std::array<char32_t, 256> MakeCharacters() {
  std::array<char32_t, 256> characters{};
  char32_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte)
    characters[static_cast<size_t>(byte)] = IsPlain(byte) ? static_cast<char32_t>(byte) : next++;
  return characters;
}

constexpr std::array<char32_t, 256> kCharacters = MakeCharacters();

// Character to byte, -1 outside the alphabet.
constexpr std::array<int16_t, kAlphabetEnd> MakeBytes() {
  std::array<int16_t, kAlphabetEnd> bytes{};
  for (int16_t& byte : bytes) byte = -1;
  for (size_t byte = 0; byte < 256; ++byte) bytes[kCharacters[byte]] = static_cast<int16_t>(byte);
  return bytes;
}

constexpr std::array<int16_t, kAlphabetEnd> kBytes = MakeBytes();

}  // namespace

const std::array<char32_t, 256>& ByteCharacters() { return kCharacters; }

std::optional<std::string> BytesOfContent(std::string_view content) {
  std::string bytes;
  while (!content.empty()) {
    const text::Utf8Step step = text::NextUtf8(content);
    content.remove_prefix(static_cast<size_t>(step.bytes));
    if (step.code_point >= kAlphabetEnd || kBytes[step.code_point] < 0) return std::nullopt;
    bytes += static_cast<char>(kBytes[step.code_point]);
  }
  return bytes;
}

std::string ContentOfBytes(std::string_view bytes) {
  std::string content;
  for (const char byte : bytes) text::AppendUtf8(content, kCharacters[static_cast<uint8_t>(byte)]);
  return content;
}

}  // namespace fathom::tokenizer
