// What pages and snapshots of the two large models take, as docs/cache.md states it.
#include <gtest/gtest.h>

#include "engine/sequence_source.h"
#include "model/config.h"

namespace fathom::conversations {
namespace {

TEST(CacheCosts, AreThoseThatTheDocumentStates) {
  const auto flash = engine::SizesOf(model::FlashPreset(), numerics::Mode::kOfficial);
  EXPECT_EQ(flash.page, 449856);
  EXPECT_EQ(flash.tail, 3644416);
  EXPECT_EQ(flash.own, 15065088);
  const auto pro = engine::SizesOf(model::ProPreset(), numerics::Mode::kOfficial);
  EXPECT_EQ(pro.page, 644032);
  EXPECT_EQ(pro.tail, 5174272);
  EXPECT_EQ(pro.own, 22730752);
}

}  // namespace
}  // namespace fathom::conversations
