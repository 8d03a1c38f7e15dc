// config.json from anywhere: a Config or one line of complaint. What is accepted must survive being
// written and read again, and no size that follows from it may overflow.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "model/config.h"
#include "model/sequence.h"
#include "model/sizes.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fathom;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const Result<model::Config> parsed = model::ParseConfig(text, "config.json");
  if (!parsed.ok()) {
    FATHOM_CHECK(parsed.error().message.starts_with("config.json: "));
    FATHOM_CHECK(parsed.error().message.find('\n') == std::string::npos);
    return 0;
  }
  const model::Config& config = parsed.value();
  const Result<model::Config> again = model::ParseConfig(model::WriteConfig(config), "written");
  FATHOM_CHECK(again.ok(), again.ok() ? "" : again.error().message);
  FATHOM_CHECK(again.value() == config);

  // The longest context that configurations and commands allow.
  constexpr int64_t kContext = int64_t{1} << 30;
  FATHOM_CHECK_GE(model::KvBytesAt(config, kContext).total, int64_t{0});
  FATHOM_CHECK_GE(model::Sequence::BytesFor(config, kContext, numerics::Mode::kOfficial),
                  int64_t{0});
  FATHOM_CHECK(model::FlopsPerToken(config, model::FormatsOf(config), kContext).Sum() > 0);
  // The tensor list of a large model takes seconds.
  if ((config.num_hidden_layers + 16) * config.n_routed_experts > 1000) return 0;
  const model::TensorSizes sizes = model::OfficialSizes(config);
  const model::ParameterCount count = model::CountParameters(config, sizes);
  FATHOM_CHECK(count.active > 0 && count.active <= count.total);
  return 0;
}
