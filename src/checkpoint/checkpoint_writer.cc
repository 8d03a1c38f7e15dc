// Writing a checkpoint folder: a stream of bytes cut into the declared files, then their index.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/json.h"
#include "checkpoint/checkpoint.h"

namespace fathom::checkpoint {
namespace {

int64_t DataBytes(const std::vector<TensorDecl>& tensors) {
  int64_t bytes = 0;
  for (const TensorDecl& decl : tensors) bytes += TensorBytes(decl);
  return bytes;
}

}  // namespace

std::string ShardName(int64_t shard, int64_t count) {
  FATHOM_CHECK(shard >= 1 && shard <= count);
  if (count == 1) return "model.safetensors";
  return fmt::format("model-{:05}-of-{:05}.safetensors", shard, count);
}

Result<CheckpointWriter> CheckpointWriter::Create(const std::string& dir,
                                                  std::vector<std::vector<TensorDecl>> shards) {
  CheckpointWriter writer(dir, std::move(shards));
  FATHOM_TRY_VOID(writer.Advance());
  return writer;
}

Result<void> CheckpointWriter::Advance() {
  while (bytes_left_ == 0) {
    if (writer_) FATHOM_TRY_VOID(writer_->Finish());
    writer_.reset();
    if (next_shard_ == shards_.size()) return {};
    const std::vector<TensorDecl>& tensors = shards_[next_shard_++];
    const std::string name =
        ShardName(static_cast<int64_t>(next_shard_), static_cast<int64_t>(shards_.size()));
    FATHOM_TRY(SafetensorsWriter writer,
               SafetensorsWriter::Create(dir_ + "/" + name, tensors, {{"format", "pt"}}));
    writer_.emplace(std::move(writer));
    bytes_left_ = DataBytes(tensors);
  }
  return {};
}

Result<void> CheckpointWriter::Append(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    FATHOM_CHECK(writer_.has_value(), "more data than declared");
    const int64_t count = std::min(std::ssize(bytes), bytes_left_);
    FATHOM_TRY_VOID(writer_->Append(bytes.first(static_cast<size_t>(count))));
    bytes = bytes.subspan(static_cast<size_t>(count));
    bytes_left_ -= count;
    FATHOM_TRY_VOID(Advance());
  }
  return {};
}

Result<void> CheckpointWriter::Finish() {
  FATHOM_CHECK(!writer_.has_value() && next_shard_ == shards_.size(), "less data than declared");
  const int64_t count = static_cast<int64_t>(shards_.size());
  if (count == 1) return {};
  Json::Object weight_map;
  int64_t total_bytes = 0;
  for (int64_t i = 0; i < count; ++i) {
    const std::vector<TensorDecl>& tensors = shards_[static_cast<size_t>(i)];
    total_bytes += DataBytes(tensors);
    for (const TensorDecl& decl : tensors)
      weight_map.emplace_back(decl.name, ShardName(i + 1, count));
  }
  std::sort(weight_map.begin(), weight_map.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  const Json index(Json::Object{{"metadata", Json::Object{{"total_size", total_bytes}}},
                                {"weight_map", std::move(weight_map)}});
  return WriteFile(dir_ + "/model.safetensors.index.json", WriteJson(index));
}

}  // namespace fathom::checkpoint
