// A checkpoint folder: model.safetensors, or shards with model.safetensors.index.json, seen as one
// map from the official tensor name to its bytes, and the same written. Generic Hugging Face
// spellings (model.md 5.1, left column) are renamed on the way in. Knows no model.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "checkpoint/load.h"
#include "checkpoint/safetensors.h"

namespace fathom::checkpoint {

// "model.layers.0.self_attn.q_a_proj.weight_scale_inv" -> "layers.0.attn.wq_a.scale". Official
// names map to themselves. Whole path components are matched, never substrings (markov_w1 is not
// w1).
std::string OfficialName(std::string_view name);

class Checkpoint {
 public:
  // `dir` may also be the path of one .safetensors file. In a folder an index wins over
  // model.safetensors, and both over bare shards: model-*.safetensors without an index are all
  // read, and must be complete if their names say "-of-N". Index and shards must agree on every
  // tensor, and shards must lie in the folder itself. `load`: when the bytes come into memory.
  static Result<Checkpoint> Open(const std::string& dir, const LoadOptions& load = {});

  // Ordered by official name.
  const TensorMap& tensors() const { return tensors_; }
  // nullptr when absent.
  const tensor::RawView* Find(std::string_view official_name) const;
  const std::vector<SafetensorsFile>& files() const { return files_; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  std::vector<SafetensorsFile> files_;  // owns the bytes
  TensorMap tensors_;                   // views into files_
};

// Writes a checkpoint folder as published: one file, or shards and their index. Data is appended
// tensor after tensor in the declared order, across files. The index is written by Finish, last.
class CheckpointWriter {
 public:
  // `shards[i]` are the tensors of file i; `dir` must exist.
  static Result<CheckpointWriter> Create(const std::string& dir,
                                         std::vector<std::vector<TensorDecl>> shards);

  Result<void> Append(std::span<const std::byte> bytes);
  Result<void> Finish();

 private:
  CheckpointWriter(std::string dir, std::vector<std::vector<TensorDecl>> shards)
      : dir_(std::move(dir)), shards_(std::move(shards)) {}
  // Finishes full files and opens their successors.
  Result<void> Advance();

  std::string dir_;
  std::vector<std::vector<TensorDecl>> shards_;
  size_t next_shard_ = 0;   // to be opened
  int64_t bytes_left_ = 0;  // of the open file
  std::optional<SafetensorsWriter> writer_;
};

// "model-00003-of-00046.safetensors", or "model.safetensors" when there is one. Shards count
// from 1.
std::string ShardName(int64_t shard, int64_t count);

}  // namespace fathom::checkpoint
