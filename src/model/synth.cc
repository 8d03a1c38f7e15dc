// The folder and the files; what stands in them is synth_content.cc. Each piece of a tensor is
// produced by all threads into one buffer and appended by one, so that the bytes do not depend on
// the threads.
#include "model/synth.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "base/file.h"
#include "checkpoint/checkpoint.h"
#include "model/layout.h"
#include "model/synth_content.h"

namespace fathom::model {
namespace {

namespace fs = std::filesystem;
using checkpoint::TensorDecl;

constexpr int64_t kPieceBytes = int64_t{16} << 20;   // written at once
constexpr int64_t kChunkBytes = int64_t{256} << 10;  // produced by one thread at a time
constexpr std::chrono::milliseconds kProgressPeriod{200};

// As published. Ref: model.md 3.1.
constexpr std::string_view kGenerationConfig = R"({
  "_from_model_config": true,
  "bos_token_id": {BOS},
  "eos_token_id": {EOS},
  "do_sample": true,
  "temperature": 1.0,
  "top_p": 1.0,
  "transformers_version": "4.57.1"
}
)";

std::string GenerationConfig(const Config& config) {
  std::string text(kGenerationConfig);
  text.replace(text.find("{BOS}"), 5, std::to_string(config.bos_token_id));
  text.replace(text.find("{EOS}"), 5, std::to_string(config.eos_token_id));
  return text;
}

bool IsCheckpointFile(const std::string& name) {
  return name == "config.json" || name == "generation_config.json" || name == "tokenizer.json" ||
         name == "tokenizer_config.json" ||
         (name.starts_with("model") && name.find(".safetensors") != std::string::npos);
}

std::vector<std::vector<TensorDecl>> GroupIntoFiles(std::vector<OfficialTensor> tensors,
                                                    const Config& config) {
  int64_t bytes = 0;
  for (const OfficialTensor& tensor : tensors) bytes += TensorBytes(tensor.decl);
  const bool is_one_file = bytes <= kOneFileBytesMax;
  std::vector<std::vector<TensorDecl>> files(is_one_file ? 1
                                                         : static_cast<size_t>(ShardCount(config)));
  for (OfficialTensor& tensor : tensors)
    files[is_one_file ? 0 : static_cast<size_t>(tensor.shard - 1)].push_back(
        std::move(tensor.decl));
  return files;
}

Result<void> CheckRoom(const std::string& dir, int64_t bytes) {
  std::error_code error;
  const fs::space_info space = fs::space(dir, error);
  if (error || space.available >= static_cast<uint64_t>(bytes)) return {};
  return Error{fmt::format("{}: expected {} free bytes, found {}", dir, bytes, space.available)};
}

// Calls on_progress now and then.
class Progress {
 public:
  Progress(int64_t total, FunctionRef<void(int64_t, int64_t)> on_progress)
      : total_(total), on_progress_(on_progress) {}
  void Add(int64_t bytes) {
    done_ += bytes;
    const auto now = std::chrono::steady_clock::now();
    if (now - last_ < kProgressPeriod && done_ < total_) return;
    last_ = now;
    on_progress_(done_, total_);
  }

 private:
  int64_t total_;
  int64_t done_ = 0;
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
  FunctionRef<void(int64_t, int64_t)> on_progress_;
};

Result<void> WriteTensor(const TensorDecl& decl, const Content& content, ThreadPool& pool,
                         std::vector<std::byte>& buffer, checkpoint::CheckpointWriter& writer,
                         Progress& progress) {
  const int64_t bytes = TensorBytes(decl);
  const int64_t chunk =
      std::max<int64_t>(1, kChunkBytes / content.alignment()) * content.alignment();
  const int64_t piece = std::max<int64_t>(1, kPieceBytes / chunk) * chunk;
  for (int64_t begin = 0; begin < bytes; begin += piece) {
    const int64_t count = std::min(piece, bytes - begin);
    if (std::ssize(buffer) < count) buffer.resize(static_cast<size_t>(count));
    const std::span<std::byte> out(buffer.data(), static_cast<size_t>(count));
    pool.ParallelFor(count, chunk, [&](int64_t from, int64_t to, int) {
      content.Fill(begin + from,
                   out.subspan(static_cast<size_t>(from), static_cast<size_t>(to - from)));
    });
    FATHOM_TRY_VOID(writer.Append(out));
    progress.Add(count);
  }
  return {};
}

}  // namespace

Result<void> PrepareFolder(const std::string& dir, ExistingFolder existing) {
  std::error_code error;
  fs::create_directories(dir, error);
  if (error) return Error{fmt::format("{}: cannot create the folder: {}", dir, error.message())};
  std::vector<fs::path> old_files;
  fs::directory_iterator entries(dir, error);
  if (error) return Error{fmt::format("{}: cannot list the folder: {}", dir, error.message())};
  for (const fs::directory_entry& entry : entries) {
    const std::string name = entry.path().filename().string();
    if (existing == ExistingFolder::kRefuse)
      return Error{fmt::format("{}: expected an empty folder, found {} in it", dir, name)};
    if (IsCheckpointFile(name)) old_files.push_back(entry.path());
  }
  for (const fs::path& path : old_files) {
    fs::remove(path, error);
    if (error) return Error{fmt::format("{}: cannot remove: {}", path.string(), error.message())};
  }
  return {};
}

Result<SynthSummary> WriteSyntheticCheckpoint(const Config& config, uint64_t seed,
                                              const std::string& dir, ThreadPool& pool,
                                              FunctionRef<void(int64_t, int64_t)> on_progress) {
  const std::vector<std::vector<TensorDecl>> files =
      GroupIntoFiles(OfficialTensors(config, FormatsOf(config)), config);
  SynthSummary summary;
  summary.files = std::ssize(files);
  for (const std::vector<TensorDecl>& file : files) {
    summary.tensors += std::ssize(file);
    for (const TensorDecl& decl : file) summary.bytes += TensorBytes(decl);
  }
  FATHOM_TRY_VOID(CheckRoom(dir, summary.bytes));
  FATHOM_TRY(checkpoint::CheckpointWriter writer, checkpoint::CheckpointWriter::Create(dir, files));
  ContentMaker maker(config, seed);
  Progress progress(summary.bytes, on_progress);
  std::vector<std::byte> buffer;
  for (const std::vector<TensorDecl>& file : files) {
    for (const TensorDecl& decl : file)
      FATHOM_TRY_VOID(WriteTensor(decl, maker.Make(decl), pool, buffer, writer, progress));
  }
  FATHOM_TRY_VOID(writer.Finish());
  FATHOM_TRY_VOID(WriteFile(dir + "/generation_config.json", GenerationConfig(config)));
  FATHOM_TRY_VOID(WriteFile(dir + "/config.json", WriteConfig(config)));
  return summary;
}

}  // namespace fathom::model
