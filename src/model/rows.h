// Inside of the room and of its verification: which rows a query attends to, as a pure function of
// its position. The window comes first, oldest row first, then the compressed rows (HCA: ascending;
// CSA: as the indexer picked them, best first): the list is exactly the valid rows, so it does not
// depend on how a prompt was cut. Ref: model.md 8.7, 8.8, 8.10.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "model/config.h"

namespace fathom::model {

// Compressed rows that exist for a query at `position`: its own token may complete the last one.
inline int64_t VisibleBlocks(int64_t position, int64_t ratio) {
  return ratio == 0 ? 0 : (position + 1) / ratio;
}

// Where the ring of a window of `window` rows keeps a position.
inline int64_t RingRow(int64_t position, int64_t window) { return position % window; }

// Calls on_window(position) for each row of the window, then on_block(block) for each compressed
// row: those of `picks` on CSA layers, all visible ones on HCA layers.
template <typename OnWindow, typename OnBlock>
void ListRows(int64_t ratio, int64_t position, int64_t window, std::span<const int32_t> picks,
              OnWindow on_window, OnBlock on_block) {
  for (int64_t at = std::max<int64_t>(0, position - window + 1); at <= position; ++at)
    on_window(at);
  if (KindOfRatio(ratio) == LayerKind::kCsa) {
    for (const int32_t block : picks) on_block(block);
  } else {
    for (int64_t block = 0; block < VisibleBlocks(position, ratio); ++block) on_block(block);
  }
}

}  // namespace fathom::model
