// Expert-shaped FP4 products of fathom, and of the ggml libraries that llama.cpp computes with
// where they are given: the same weights, the same inputs, alternating in one process.
//
//   llama_products_bench [--ggml=FOLDER] [--threads=N] [Google Benchmark's flags]
//
// FOLDER holds libggml-base.so, libggml*.so and libggml-cpu-*.so as a package ships them; without
// it only fathom is measured. ggml has no headers here: the few functions used are declared below,
// and that they do what is expected is checked by comparing results before anything is timed. Two
// of its forms are measured: weights as the file has them, and repacked at loading as llama.cpp
// does.
//
// One row cycles through more weights than the last-level cache holds, so they come from memory.
// Quantising the inputs is part of the product on both sides: to FP8 by 128 (fathom), to int8 by 32
// (ggml, and fathom with fast numerics).
#include <benchmark/benchmark.h>
#include <dlfcn.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/check.h"
#include "kernels/context.h"
#include "kernels/linear.h"

namespace fathom::bench {
namespace {

using tensor::kFp4Block;

struct Shape {
  const char* name;
  int64_t outputs;
  int64_t inputs;
};
constexpr Shape kShapes[] = {{"gate_up_2048x4096", 2048, 4096}, {"down_4096x2048", 4096, 2048}};
constexpr int64_t kRows[] = {1, 512};
constexpr int64_t kMatrices = 32;         // 143 MB in all
constexpr int64_t kManyRowsMatrices = 2;  // with many rows the products are bound by arithmetic

int64_t MatricesFor(int64_t rows) { return rows == 1 ? kMatrices : kManyRowsMatrices; }

// The weights of one shape in the checkpoint's layout, and inputs.
struct Operands {
  Operands(const Shape& shape_in, uint32_t seed) : shape(shape_in) {
    std::mt19937 random(seed);
    const int64_t elements = kMatrices * shape.outputs * shape.inputs;
    codes.resize(static_cast<size_t>(elements / 2));
    for (uint8_t& code : codes) code = static_cast<uint8_t>(random());
    scales.resize(static_cast<size_t>(elements / kFp4Block));
    for (uint8_t& scale : scales) scale = static_cast<uint8_t>(118 + random() % 4);
    inputs.resize(static_cast<size_t>(kRows[1] * shape.inputs));
    std::normal_distribution<float> normal;
    for (float& value : inputs) value = normal(random);
  }
  tensor::QuantView matrix(int64_t i) const {
    const int64_t elements = shape.outputs * shape.inputs;
    return {tensor::Format::kFp4,
            reinterpret_cast<const std::byte*>(codes.data()) + i * elements / 2,
            scales.data() + i * elements / kFp4Block, shape.outputs, shape.inputs};
  }

  Shape shape;
  std::vector<uint8_t> codes;
  std::vector<uint8_t> scales;
  std::vector<float> inputs;
};

// One engine's form of the operands. Run computes MatricesFor(rows) products.
class Products {
 public:
  virtual ~Products() = default;
  virtual void Run(int64_t rows) = 0;
  // Outputs of the first matrix, [rows, outputs], after Run.
  virtual std::vector<float> FirstOutputs(int64_t rows) = 0;
};

class FathomProducts : public Products {
 public:
  FathomProducts(const Operands& operands, ThreadPool& pool, numerics::Mode mode)
      : operands_(operands),
        ctx_{pool, workspace_, kernels::BestPath(), mode},
        outputs_(kManyRowsMatrices * kRows[1] * operands.shape.outputs) {}

  void Run(int64_t rows) override {
    for (int64_t i = 0; i < MatricesFor(rows); ++i) {
      const Shape& shape = operands_.shape;
      kernels::Linear({operands_.inputs.data(), rows, shape.inputs}, operands_.matrix(i),
                      kernels::Activation::kQuantized, kernels::Output::kBF16,
                      {outputs_.data() + i * rows * shape.outputs, rows, shape.outputs}, ctx_);
    }
  }
  std::vector<float> FirstOutputs(int64_t rows) override {
    return {outputs_.data(), outputs_.data() + rows * operands_.shape.outputs};
  }

 private:
  const Operands& operands_;
  kernels::Workspace workspace_;
  kernels::Context ctx_;
  tensor::Buffer<float> outputs_;
};

// The part of ggml's C interface that is used. Types are opaque but for the one passed by value.
struct GgmlContext;
struct GgmlTensor;
struct GgmlGraph;
struct GgmlBackend;
struct GgmlDevice;
struct GgmlRegistry;
struct GgmlBufferType;
struct GgmlBuffer;
struct GgmlInitParams {
  size_t bytes;
  void* memory;
  bool no_alloc;
};
constexpr int kGgmlF32 = 0;
constexpr int kGgmlMxfp4 = 39;
constexpr int kGgmlCpuDevice = 0;

struct GgmlFunctions {
  void (*ggml_log_set)(void (*)(int, const char*, void*), void*);
  void (*ggml_backend_load_all_from_path)(const char*);
  GgmlBackend* (*ggml_backend_init_by_type)(int, const char*);
  GgmlDevice* (*ggml_backend_get_device)(GgmlBackend*);
  GgmlRegistry* (*ggml_backend_dev_backend_reg)(GgmlDevice*);
  void* (*ggml_backend_reg_get_proc_address)(GgmlRegistry*, const char*);
  GgmlBufferType* (*ggml_backend_dev_buffer_type)(GgmlDevice*);
  const char* (*ggml_backend_buft_name)(GgmlBufferType*);
  GgmlBuffer* (*ggml_backend_alloc_ctx_tensors_from_buft)(GgmlContext*, GgmlBufferType*);
  void (*ggml_backend_tensor_set)(GgmlTensor*, const void*, size_t, size_t);
  void (*ggml_backend_tensor_get)(const GgmlTensor*, void*, size_t, size_t);
  int (*ggml_backend_graph_compute)(GgmlBackend*, GgmlGraph*);
  GgmlContext* (*ggml_init)(GgmlInitParams);
  GgmlTensor* (*ggml_new_tensor_2d)(GgmlContext*, int, int64_t, int64_t);
  GgmlTensor* (*ggml_mul_mat)(GgmlContext*, GgmlTensor*, GgmlTensor*);
  GgmlGraph* (*ggml_new_graph)(GgmlContext*);
  void (*ggml_build_forward_expand)(GgmlGraph*, GgmlTensor*);
};

// The libraries of a folder, opened for the rest of the program.
class Ggml {
 public:
  Ggml(const std::string& folder, int threads) {
    Open(folder);
    f.ggml_log_set([](int, const char*, void*) {}, nullptr);
    f.ggml_backend_load_all_from_path(folder.c_str());
    backend = f.ggml_backend_init_by_type(kGgmlCpuDevice, nullptr);
    FATHOM_CHECK(backend != nullptr);
    GgmlDevice* device = f.ggml_backend_get_device(backend);
    GgmlRegistry* registry = f.ggml_backend_dev_backend_reg(device);
    const auto address = [&](const char* name) {
      return f.ggml_backend_reg_get_proc_address(registry, name);
    };
    using SetThreads = void (*)(GgmlBackend*, int);
    using ExtraTypes = GgmlBufferType** (*)(GgmlDevice*);
    reinterpret_cast<SetThreads>(address("ggml_backend_set_n_threads"))(backend, threads);
    plain = f.ggml_backend_dev_buffer_type(device);
    GgmlBufferType** extra =
        reinterpret_cast<ExtraTypes>(address("ggml_backend_dev_get_extra_bufts"))(device);
    for (; extra != nullptr && *extra != nullptr; ++extra)
      if (std::string(f.ggml_backend_buft_name(*extra)) == "CPU_REPACK") repacked = *extra;
  }

  GgmlFunctions f = {};
  GgmlBackend* backend = nullptr;
  GgmlBufferType* plain = nullptr;
  GgmlBufferType* repacked = nullptr;  // or null: this processor has no repacked form

 private:
  // Every name is found in one of the two libraries; which one has moved between versions.
  void Open(const std::string& folder) {
    libraries_.push_back(dlopen((folder + "/libggml-base.so").c_str(), RTLD_NOW | RTLD_GLOBAL));
    for (const auto& entry : std::filesystem::directory_iterator(folder))
      if (entry.path().filename().string().starts_with("libggml."))
        libraries_.push_back(dlopen(entry.path().c_str(), RTLD_NOW | RTLD_GLOBAL));
#define FATHOM_FIND(name) f.name = reinterpret_cast<decltype(f.name)>(Find(#name))
    FATHOM_FIND(ggml_log_set);
    FATHOM_FIND(ggml_backend_load_all_from_path);
    FATHOM_FIND(ggml_backend_init_by_type);
    FATHOM_FIND(ggml_backend_get_device);
    FATHOM_FIND(ggml_backend_dev_backend_reg);
    FATHOM_FIND(ggml_backend_reg_get_proc_address);
    FATHOM_FIND(ggml_backend_dev_buffer_type);
    FATHOM_FIND(ggml_backend_buft_name);
    FATHOM_FIND(ggml_backend_alloc_ctx_tensors_from_buft);
    FATHOM_FIND(ggml_backend_tensor_set);
    FATHOM_FIND(ggml_backend_tensor_get);
    FATHOM_FIND(ggml_backend_graph_compute);
    FATHOM_FIND(ggml_init);
    FATHOM_FIND(ggml_new_tensor_2d);
    FATHOM_FIND(ggml_mul_mat);
    FATHOM_FIND(ggml_new_graph);
    FATHOM_FIND(ggml_build_forward_expand);
#undef FATHOM_FIND
  }
  void* Find(const char* name) const {
    for (void* library : libraries_)
      if (library != nullptr)
        if (void* symbol = dlsym(library, name)) return symbol;
    std::fprintf(stderr, "no function %s in the ggml libraries: %s\n", name, dlerror());
    std::exit(1);
  }

  std::vector<void*> libraries_;
};

// The same matrix in ggml's blocks: scale, then 16 bytes of which byte j holds elements j (low) and
// j + 16 (high); the checkpoint's byte j holds elements 2 j and 2 j + 1.
std::vector<uint8_t> ToMxfp4(const tensor::QuantView& w) {
  std::vector<uint8_t> blocks;
  const auto* codes = reinterpret_cast<const uint8_t*>(w.data);
  const int64_t count = w.rows * w.cols / kFp4Block;
  blocks.reserve(static_cast<size_t>(count * (1 + kFp4Block / 2)));
  for (int64_t b = 0; b < count; ++b, codes += kFp4Block / 2) {
    const auto code = [&](int64_t k) { return codes[k / 2] >> (k % 2 * 4) & 15; };
    blocks.push_back(w.scale[b]);
    for (int64_t j = 0; j < kFp4Block / 2; ++j)
      blocks.push_back(static_cast<uint8_t>(code(j) | code(j + kFp4Block / 2) << 4));
  }
  return blocks;
}

// One graph for each number of rows; its nodes are the products.
class GgmlProducts : public Products {
 public:
  GgmlProducts(const Operands& operands, const Ggml& ggml, GgmlBufferType* type)
      : shape_(operands.shape), ggml_(ggml) {
    const GgmlFunctions& f = ggml.f;
    GgmlContext* weights = f.ggml_init({1 << 20, nullptr, true});
    std::vector<GgmlTensor*> matrices;
    for (int64_t i = 0; i < kMatrices; ++i)
      matrices.push_back(f.ggml_new_tensor_2d(weights, kGgmlMxfp4, shape_.inputs, shape_.outputs));
    FATHOM_CHECK(f.ggml_backend_alloc_ctx_tensors_from_buft(weights, type) != nullptr);
    for (int64_t i = 0; i < kMatrices; ++i) {
      const std::vector<uint8_t> blocks = ToMxfp4(operands.matrix(i));
      f.ggml_backend_tensor_set(matrices[static_cast<size_t>(i)], blocks.data(), 0, blocks.size());
    }
    for (const int64_t rows : kRows) graphs_.push_back(MakeGraph(operands, matrices, rows));
  }

  void Run(int64_t rows) override {
    FATHOM_CHECK_EQ(ggml_.f.ggml_backend_graph_compute(ggml_.backend, Of(rows).graph), 0);
  }
  std::vector<float> FirstOutputs(int64_t rows) override {
    std::vector<float> values(static_cast<size_t>(rows * shape_.outputs));
    ggml_.f.ggml_backend_tensor_get(Of(rows).first, values.data(), 0, values.size() * 4);
    return values;
  }

 private:
  struct Graph {
    int64_t rows;
    GgmlGraph* graph;
    GgmlTensor* first;
  };

  Graph MakeGraph(const Operands& operands, const std::vector<GgmlTensor*>& matrices,
                  int64_t rows) const {
    const GgmlFunctions& f = ggml_.f;
    GgmlContext* context = f.ggml_init({1 << 20, nullptr, true});
    Graph result = {rows, f.ggml_new_graph(context), nullptr};
    GgmlTensor* inputs = f.ggml_new_tensor_2d(context, kGgmlF32, shape_.inputs, rows);
    for (int64_t i = 0; i < MatricesFor(rows); ++i) {
      GgmlTensor* product = f.ggml_mul_mat(context, matrices[static_cast<size_t>(i)], inputs);
      f.ggml_build_forward_expand(result.graph, product);
      if (i == 0) result.first = product;
    }
    FATHOM_CHECK(f.ggml_backend_alloc_ctx_tensors_from_buft(context, ggml_.plain) != nullptr);
    f.ggml_backend_tensor_set(inputs, operands.inputs.data(), 0,
                              static_cast<size_t>(rows * shape_.inputs) * 4);
    return result;
  }
  const Graph& Of(int64_t rows) const { return graphs_[rows == kRows[0] ? 0 : 1]; }

  Shape shape_;
  const Ggml& ggml_;
  std::vector<Graph> graphs_;
};

// Both quantise the inputs, each its own way, which leaves about 2 % (E4M3: 3 bits of mantissa) and
// under 1 % (int8). A wrong layout or a wrong scale leaves 100 %.
constexpr double kAgreement = 0.05;

void ExpectSame(const std::string& name, Products& a, Products& b, int64_t rows) {
  a.Run(rows);
  b.Run(rows);
  const std::vector<float> x = a.FirstOutputs(rows);
  const std::vector<float> y = b.FirstOutputs(rows);
  double difference = 0, norm = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    difference += std::pow(double{x[i]} - double{y[i]}, 2);
    norm += std::pow(double{x[i]}, 2);
  }
  const double relative = std::sqrt(difference / norm);
  if (relative < kAgreement) return;
  std::fprintf(stderr, "%s, %ld rows: differs from fathom by %.3f of the norm\n", name.c_str(),
               static_cast<long>(rows), relative);
  std::exit(1);
}

void Register(const std::string& engine, const Shape& shape, Products& products) {
  for (const int64_t rows : kRows) {
    const std::string name = engine + "/" + shape.name + "/rows:" + std::to_string(rows);
    const auto body = [shape, rows, &products](benchmark::State& state) {
      for (auto _ : state) products.Run(rows);
      const auto count = static_cast<double>(state.iterations() * MatricesFor(rows));
      const auto elements = static_cast<double>(shape.outputs * shape.inputs);
      using benchmark::Counter;
      state.counters["GB_s"] =
          Counter(count * elements * (0.5 + 1.0 / kFp4Block) * 1e-9, Counter::kIsRate);
      state.counters["GFLOP_s"] =
          Counter(count * elements * 2.0 * static_cast<double>(rows) * 1e-9, Counter::kIsRate);
    };
    benchmark::RegisterBenchmark(name.c_str(), body)->UseRealTime()->Unit(benchmark::kMillisecond);
  }
}

struct Options {
  std::string ggml;
  int threads = 0;
};

// Flags that Google Benchmark has left over.
bool ParseOptions(int argc, char** argv, Options& options) {
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag.starts_with("--ggml=")) {
      options.ggml = flag.substr(std::strlen("--ggml="));
    } else if (flag.starts_with("--threads=")) {
      options.threads = std::atoi(flag.c_str() + std::strlen("--threads="));
    } else {
      std::fprintf(stderr, "%s: unknown, expected --ggml=FOLDER or --threads=N\n", argv[i]);
      return false;
    }
  }
  return true;
}

int Main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  Options options;
  if (!ParseOptions(argc, argv, options)) return 2;
  ThreadPool pool(options.threads);
  std::unique_ptr<Ggml> ggml;
  if (!options.ggml.empty()) ggml = std::make_unique<Ggml>(options.ggml, pool.threads());

  std::vector<std::unique_ptr<Operands>> operands;
  std::vector<std::unique_ptr<Products>> products;
  for (const Shape& shape : kShapes) {
    operands.push_back(std::make_unique<Operands>(shape, 1));
    products.push_back(
        std::make_unique<FathomProducts>(*operands.back(), pool, numerics::Mode::kOfficial));
    Products& own = *products.back();
    Register("fathom", shape, own);
    const auto add = [&](const char* name, std::unique_ptr<Products> more) {
      products.push_back(std::move(more));
      for (const int64_t rows : kRows) ExpectSame(name, own, *products.back(), rows);
      Register(name, shape, *products.back());
    };
    const auto add_ggml = [&](const char* name, GgmlBufferType* type) {
      if (type != nullptr) add(name, std::make_unique<GgmlProducts>(*operands.back(), *ggml, type));
    };
    add("fathom_fast",
        std::make_unique<FathomProducts>(*operands.back(), pool, numerics::Mode::kFast));
    if (ggml == nullptr) continue;
    add_ggml("ggml", ggml->plain);
    add_ggml("ggml_repacked", ggml->repacked);
  }
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

}  // namespace
}  // namespace fathom::bench

int main(int argc, char** argv) { return fathom::bench::Main(argc, argv); }
