#include "tensor/view.h"

namespace fathom::tensor {

QuantView QuantView::SliceRows(int64_t begin, int64_t count) const {
  FATHOM_CHECK(begin >= 0 && count >= 0 && begin + count <= rows);
  QuantView slice = *this;
  slice.data = row(begin);
  slice.rows = count;
  if (format == Format::kFp8) {
    slice.scale = scale + (row_offset + begin) / kFp8Block * scale_cols();
    slice.row_offset = (row_offset + begin) % kFp8Block;
  } else if (format == Format::kFp4) {
    slice.scale = scale + begin * scale_cols();
  }
  return slice;
}

}  // namespace fathom::tensor
