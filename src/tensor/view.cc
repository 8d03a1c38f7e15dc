#include "tensor/view.h"

namespace fathom::tensor {

QuantView QuantView::SliceRows(int64_t begin, int64_t count) const {
  FATHOM_CHECK(begin >= 0 && count >= 0 && begin + count <= rows);
  QuantView slice = *this;
  slice.data = row(begin);
  slice.rows = count;
  if (format == Format::kFp8) {
    // A slice must not start inside a block unless it also ends there.
    FATHOM_CHECK(begin % kFp8Block == 0 || begin / kFp8Block == (begin + count - 1) / kFp8Block);
    slice.scale = scale + begin / kFp8Block * scale_cols();
  } else if (format == Format::kFp4) {
    slice.scale = scale + begin * scale_cols();
  }
  return slice;
}

}  // namespace fathom::tensor
