// ParseSafetensors on arbitrary bytes: no crash, and every accepted tensor lies inside the input
// and has the bytes that its shape says.
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/check.h"
#include "checkpoint/safetensors.h"

namespace {

using fathom::tensor::RawView;

// Reads both ends, where the sanitizer would notice a view outside the input.
void Touch(const RawView& view) {
  if (view.bytes.empty()) return;
  [[maybe_unused]] volatile std::byte end = view.bytes.front();
  end = view.bytes.back();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto content =
      fathom::checkpoint::ParseSafetensors({reinterpret_cast<const std::byte*>(data), size});
  if (!content.ok()) {
    FATHOM_CHECK(content.error().message.find('\n') == std::string::npos);
    return 0;
  }
  for (const auto& [name, view] : content.value().tensors) {
    Touch(view);
    FATHOM_CHECK_EQ(view.elements() * fathom::tensor::ElementBytes(view.dtype),
                    static_cast<int64_t>(view.bytes.size()));
  }
  return 0;
}
