#include "base/hash.h"

#include <gtest/gtest.h>

namespace fathom {
namespace {

// Values that its authors publish.
TEST(HashText, IsFnv1a) {
  EXPECT_EQ(HashText(""), 0xcbf29ce484222325u);
  EXPECT_EQ(HashText("a"), 0xaf63dc4c8601ec8cu);
  EXPECT_EQ(HashText("foobar"), 0x85944171f73967e8u);
  EXPECT_EQ(HashText("bar", HashText("foo")), HashText("foobar"));
  EXPECT_NE(HashText("\xff"), HashText("\x7f"));
}

}  // namespace
}  // namespace fathom
