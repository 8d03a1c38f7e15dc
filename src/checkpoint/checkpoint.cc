// Opening a checkpoint folder: which files belong to it, that the index and the files agree, and
// the official names. Writing is checkpoint_writer.cc.
#include "checkpoint/checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <map>
#include <set>
#include <system_error>

#include "base/json.h"

namespace fathom::checkpoint {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSuffix = ".safetensors";
constexpr std::string_view kIndexName = "model.safetensors.index.json";

struct Renaming {
  std::string_view generic;
  std::string_view official;
};
// Ref: model.md 5.1 (inference/convert.py, mapping).
constexpr Renaming kRenamings[] = {{"self_attn", "attn"},
                                   {"mlp", "ffn"},
                                   {"weight_scale_inv", "scale"},
                                   {"e_score_correction_bias", "bias"},
                                   {"embed_tokens", "embed"},
                                   {"lm_head", "head"},
                                   {"input_layernorm", "attn_norm"},
                                   {"post_attention_layernorm", "ffn_norm"},
                                   {"q_a_proj", "wq_a"},
                                   {"q_a_layernorm", "q_norm"},
                                   {"q_b_proj", "wq_b"},
                                   {"kv_a_layernorm", "kv_norm"},
                                   {"gate_proj", "w1"},
                                   {"down_proj", "w2"},
                                   {"up_proj", "w3"}};

std::string_view OfficialComponent(std::string_view component) {
  for (const Renaming& renaming : kRenamings)
    if (renaming.generic == component) return renaming.official;
  return component;
}

// A file in the folder itself: names with a directory part could lead anywhere.
bool IsPlainFileName(std::string_view name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of(std::string_view("/\\\0", 3)) == name.npos;
}

// Tensor name to file name, from the index's weight_map.
using WeightMap = std::map<std::string, std::string, std::less<>>;

Result<WeightMap> ParseIndex(std::string_view text) {
  FATHOM_TRY(const Json index, ParseJson(text, RepeatedNames::kRefuse));
  const Json* weight_map = index.Find("weight_map");
  if (weight_map == nullptr) return Error{"missing key \"weight_map\""};
  if (!weight_map->is_object()) {
    return Error{fmt::format("weight_map: expected an object, found {}", weight_map->KindName())};
  }
  WeightMap files;
  for (const auto& [name, file] : weight_map->object()) {
    if (!file.is_string()) {
      return Error{fmt::format("weight_map: {}: expected a file name, found {}", Quoted(name),
                               file.KindName())};
    }
    if (!IsPlainFileName(file.string())) {
      return Error{fmt::format("weight_map: {}: expected a file in the same folder, found \"{}\"",
                               Quoted(name), Quoted(file.string()))};
    }
    files.emplace(name, file.string());
  }
  return files;
}

// Every tensor of the index is in its file, and every tensor of a file is in the index.
Result<void> CheckAgainstIndex(const WeightMap& weight_map,
                               const std::map<std::string, const SafetensorsFile*>& files) {
  std::vector<std::string> complaints;
  for (const auto& [name, file] : weight_map) {
    if (!files.at(file)->tensors().contains(name))
      complaints.push_back(fmt::format("{} is not in {}", Quoted(name), file));
  }
  for (const auto& [file_name, file] : files) {
    for (const auto& [name, view] : file->tensors()) {
      const auto place = weight_map.find(name);
      if (place == weight_map.end())
        complaints.push_back(fmt::format("{} of {} is not listed", Quoted(name), file_name));
      else if (place->second != file_name)
        complaints.push_back(fmt::format("{} is listed for {}, but also in {}", Quoted(name),
                                         place->second, file_name));
    }
  }
  if (complaints.empty()) return {};
  if (complaints.size() == 1) return Error{complaints[0]};
  return Error{fmt::format("{} (and {} more)", complaints[0], complaints.size() - 1)};
}

Result<std::vector<SafetensorsFile>> OpenIndexed(const fs::path& dir) {
  const std::string index_path = (dir / kIndexName).string();
  FATHOM_TRY(const std::string text, ReadFile(index_path, kHeaderBytesMax));
  auto weight_map = ParseIndex(text);
  if (!weight_map.ok()) return std::move(weight_map).error().In(index_path);
  std::set<std::string> names;
  for (const auto& [name, file] : weight_map.value()) names.insert(file);
  std::vector<SafetensorsFile> files;
  for (const std::string& name : names) {
    auto file = SafetensorsFile::Open((dir / name).string());
    if (!file.ok())
      return Error{fmt::format("{} (listed in {})", file.error().message, kIndexName)};
    files.push_back(std::move(file).value());
  }
  std::map<std::string, const SafetensorsFile*> by_name;
  size_t i = 0;
  for (const std::string& name : names) by_name.emplace(name, &files[i++]);
  auto agreement = CheckAgainstIndex(weight_map.value(), by_name);
  if (!agreement.ok()) return std::move(agreement).error().In(index_path);
  return files;
}

// N of "model-00001-of-N.safetensors", or 0.
int64_t ShardCountOf(std::string_view name) {
  name.remove_suffix(kSuffix.size());
  const size_t of = name.rfind("-of-");
  if (of == name.npos) return 0;
  name.remove_prefix(of + 4);
  int64_t count = 0;
  const auto [end, status] = std::from_chars(name.data(), name.data() + name.size(), count);
  return status == std::errc() && end == name.data() + name.size() ? count : 0;
}

// model-*.safetensors without an index.
Result<std::vector<SafetensorsFile>> OpenBareShards(const fs::path& dir) {
  std::set<std::string> names;
  std::error_code status;
  for (fs::directory_iterator it(dir, status), end; !status && it != end; it.increment(status)) {
    std::string name = it->path().filename().string();
    if (name.starts_with("model-") && name.ends_with(kSuffix)) names.insert(std::move(name));
  }
  if (status) return Error{fmt::format("{}: cannot list: {}", dir.string(), status.message())};
  if (names.empty()) {
    return Error{
        fmt::format("{}: expected {}, model.safetensors or model-*.safetensors, found none",
                    dir.string(), kIndexName)};
  }
  std::vector<SafetensorsFile> files;
  for (const std::string& name : names) {
    const int64_t count = ShardCountOf(name);
    if (count != 0 && count != std::ssize(names)) {
      return Error{fmt::format("{}: expected {} shards as {} says, found {}", dir.string(), count,
                               name, names.size())};
    }
    FATHOM_TRY(SafetensorsFile file, SafetensorsFile::Open((dir / name).string()));
    files.push_back(std::move(file));
  }
  return files;
}

Result<std::vector<SafetensorsFile>> OpenFiles(const std::string& path) {
  const fs::path dir(path);
  std::string single = path;
  std::error_code status;
  if (fs::is_directory(dir, status)) {
    if (FileExists((dir / kIndexName).string())) return OpenIndexed(dir);
    single = (dir / "model.safetensors").string();
    if (!FileExists(single)) return OpenBareShards(dir);
  }
  FATHOM_TRY(SafetensorsFile file, SafetensorsFile::Open(single));
  std::vector<SafetensorsFile> files;
  files.push_back(std::move(file));
  return files;
}

}  // namespace

std::string OfficialName(std::string_view name) {
  if (name.starts_with("model.")) name.remove_prefix(6);
  std::string official;
  for (;;) {
    const size_t dot = name.find('.');
    official += OfficialComponent(name.substr(0, dot));
    if (dot == name.npos) return official;
    official += '.';
    name.remove_prefix(dot + 1);
  }
}

Result<Checkpoint> Checkpoint::Open(const std::string& dir, const LoadOptions& load) {
  Checkpoint checkpoint;
  checkpoint.path_ = dir;
  FATHOM_TRY(checkpoint.files_, OpenFiles(dir));
  std::map<std::string, std::string_view, std::less<>> origins;
  for (const SafetensorsFile& file : checkpoint.files_) {
    for (const auto& [name, view] : file.tensors()) {
      std::string official = OfficialName(name);
      const auto [origin, is_new] = origins.try_emplace(official, name);
      if (!is_new) {
        return Error{fmt::format("{}: {} names the same tensor as {}", file.path(), Quoted(name),
                                 Quoted(origin->second))};
      }
      checkpoint.tensors_.emplace(std::move(official), view);
    }
  }
  std::vector<MappedFile*> files;
  for (SafetensorsFile& file : checkpoint.files_) files.push_back(&file.file());
  FATHOM_TRY_VOID(BringIn(files, load));
  return checkpoint;
}

const tensor::RawView* Checkpoint::Find(std::string_view official_name) const {
  const auto place = tensors_.find(official_name);
  return place == tensors_.end() ? nullptr : &place->second;
}

}  // namespace fathom::checkpoint
