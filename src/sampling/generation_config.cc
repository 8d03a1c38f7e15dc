#include "sampling/generation_config.h"

#include <utility>

#include "base/file.h"
#include "base/json.h"

namespace fathom::sampling {
namespace {

// Sets `value` when the key is there.
template <typename T>
Result<void> Read(const Json& object, std::string_view name, const std::string& where, T& value) {
  const Json* member = object.Find(name);
  if (member == nullptr || member->is_null()) return {};
  if constexpr (std::is_integral_v<T>) {
    FATHOM_TRY(value, GetInt64(object, name, where));
  } else {
    FATHOM_TRY(const double number, GetDouble(object, name, where));
    value = static_cast<T>(number);
  }
  return {};
}

Result<TokenId> ReadToken(const Json& json, const std::string& where) {
  auto id = json.ToInt64();
  if (!id.ok()) return std::move(id).error().In(where + ": key \"eos_token_id\"");
  if (id.value() < 0 || id.value() != static_cast<TokenId>(id.value()))
    return Error{where + ": key \"eos_token_id\": expected a token id, found " +
                 std::to_string(id.value())};
  return static_cast<TokenId>(id.value());
}

}  // namespace

Result<GenerationConfig> ParseGenerationConfig(std::string_view json, const std::string& where) {
  auto parsed = ParseJson(json);
  if (!parsed.ok()) return std::move(parsed).error().In(where);
  const Json& object = parsed.value();
  if (!object.is_object())
    return Error{where + ": expected a JSON object, found " + object.KindName()};
  GenerationConfig config;
  Params& params = config.params;
  FATHOM_TRY_VOID(Read(object, "temperature", where, params.temperature));
  FATHOM_TRY_VOID(Read(object, "top_p", where, params.top_p));
  FATHOM_TRY_VOID(Read(object, "top_k", where, params.top_k));
  FATHOM_TRY_VOID(Read(object, "min_p", where, params.min_p));
  FATHOM_TRY_VOID(Read(object, "repetition_penalty", where, params.repetition_penalty));
  const Json* do_sample = object.Find("do_sample");
  if (do_sample != nullptr && !do_sample->is_null() && !do_sample->is_bool())
    return Error{where + ": key \"do_sample\": expected a boolean, found " + do_sample->KindName()};
  if (do_sample != nullptr && do_sample->is_bool() && !do_sample->boolean()) params.temperature = 0;
  if (auto checked = CheckParams(params, 1); !checked.ok())
    return std::move(checked).error().In(where);
  if (const Json* eos = object.Find("eos_token_id"); eos != nullptr && eos->is_array()) {
    for (const Json& item : eos->array()) {
      FATHOM_TRY(const TokenId id, ReadToken(item, where));
      config.eos_token_ids.push_back(id);
    }
  } else if (eos != nullptr && !eos->is_null()) {
    FATHOM_TRY(const TokenId id, ReadToken(*eos, where));
    config.eos_token_ids.push_back(id);
  }
  return config;
}

Result<GenerationConfig> LoadGenerationConfig(const std::string& dir) {
  const std::string path = dir + "/generation_config.json";
  if (!FileExists(path)) return GenerationConfig();
  FATHOM_TRY(const std::string text, ReadFile(path));
  return ParseGenerationConfig(text, path);
}

}  // namespace fathom::sampling
