// The byte alphabet of byte-level BPE files: each byte is written as one printable character, the
// printable Latin-1 bytes as themselves and the other 68 as U+0100, U+0101, ... in byte order
// (GPT-2's table, which the "ByteLevel" of tokenizer.json means). "Ġ" is the space, "Ċ" the line
// feed.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace fathom::tokenizer {

// The character that stands for each byte.
const std::array<char32_t, 256>& ByteCharacters();

// The bytes spelled by `content`, or nothing when a character is outside the alphabet.
std::optional<std::string> BytesOfContent(std::string_view content);

// The spelling of `bytes`.
std::string ContentOfBytes(std::string_view bytes);

}  // namespace fathom::tokenizer
