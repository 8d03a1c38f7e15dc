#include "tokenizer/stages/byte_level.h"

#include <gtest/gtest.h>

#include <set>

namespace fathom::tokenizer {
namespace {

TEST(ByteLevel, EveryByteHasItsOwnCharacterAndComesBack) {
  std::set<char32_t> characters;
  for (int byte = 0; byte < 256; ++byte) {
    const std::string bytes(1, static_cast<char>(byte));
    EXPECT_EQ(BytesOfContent(ContentOfBytes(bytes)), bytes);
    characters.insert(ByteCharacters()[static_cast<size_t>(byte)]);
  }
  EXPECT_EQ(characters.size(), 256u);
}

TEST(ByteLevel, KnownSpellings) {
  EXPECT_EQ(ContentOfBytes(" a\n~\x7F"), "\u0120a\u010A~\u0121");
  EXPECT_EQ(ContentOfBytes("\u4e2d"), "\u00E4\u00B8\u0143");  // the bytes E4 B8 AD
  EXPECT_EQ(ContentOfBytes({"\0", 1}), "\u0100");
  EXPECT_EQ(ContentOfBytes("\xA0\xAD\xFF"), "\u0142\u0143\u00FF");
}

TEST(ByteLevel, OtherCharactersSpellNothing) {
  for (const char* content : {" ", "a b", "\u0144", "<\uFF5CUser\uFF5C>", "\u4e2d", "\u00AD"})
    EXPECT_EQ(BytesOfContent(content), std::nullopt) << content;
  EXPECT_EQ(BytesOfContent(""), "");
}

}  // namespace
}  // namespace fathom::tokenizer
