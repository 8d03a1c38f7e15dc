#include "measure/runner.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/topology.h"
#include "model/fill.h"

namespace fathom::measure {
namespace {

using Clock = std::chrono::steady_clock;

// Steps before the measured ones: buffers grow, threads wake up.
constexpr int64_t kWarmSteps = 2;
// Steps shorter than this are measured several at a time.
constexpr double kIntervalSeconds = 0.005;
// Samples of the peak after every layer of a prompt's pass.
constexpr int kPeakSamples = 2;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

int64_t Largest(const std::vector<int64_t>& values) {
  return values.empty() ? 1 : *std::max_element(values.begin(), values.end());
}

}  // namespace

// Sequences that go on together, one token each in a step.
struct Runner::Batch {
  std::vector<std::unique_ptr<model::Sequence>> sequences;
  std::vector<TokenId> tokens;
  std::vector<model::BatchItem> items;
};

// Samples the peak between the layers of a pass: a pass over a long chunk takes seconds, in which
// the machine's speed changes.
class Runner::PeakTap : public model::Tap {
 public:
  explicit PeakTap(Runner& runner) : runner_(runner) { runner_.executor_.set_tap(this); }
  ~PeakTap() override { runner_.executor_.set_tap(nullptr); }

  void OnTensor(int64_t, std::string_view name, model::MatrixView<const float>) override {
    if (name != "out") return;
    const kernels::TraceSpan span(&runner_.trace_, kernels::Operation::kMeasurement);
    Sample();
  }
  void OnPicks(int64_t, int64_t, std::span<const int32_t>) override {}

  void Sample() {
    for (int i = 0; i < kPeakSamples; ++i) samples_.push_back(runner_.limits_.SampleBF16());
  }
  double peak() const { return Percentile(samples_, 90); }

 private:
  Runner& runner_;
  std::vector<double> samples_;
};

Runner::Runner(const model::LoadedModel& loaded, const BenchOptions& options)
    : loaded_(loaded),
      options_(options),
      pool_(options.threads, options.pinning),
      trace_(options.trace != nullptr ? *options.trace : own_trace_),
      ctx_{pool_, workspace_, options.path, options.mode, &trace_},
      executor_(loaded.config(), loaded.weights(),
                {.batch_tokens_max = std::max(std::min(options.chunk_tokens, options.prompt_tokens),
                                              Largest(options.batches))},
                ctx_),
      limits_(ctx_, options.memory_bytes),
      logits_(Largest(options.batches) * loaded.config().vocab_size),
      random_(options.seed) {}

Runner::~Runner() = default;

bool Runner::is_cancelled() const {
  return options_.cancel != nullptr && options_.cancel->load(std::memory_order_relaxed);
}

void Runner::Say(std::string_view what) const {
  if (options_.progress) options_.progress(what);
}

// Ids, not texts: of a model with random weights every text is as good as any other, and a real
// one's experts are chosen by its own scores either way.
TokenId Runner::RandomToken() {
  random_ = random_ * 6364136223846793005u + 1442695040888963407u;
  return static_cast<TokenId>((random_ >> 33) % static_cast<uint64_t>(loaded_.config().vocab_size));
}

bool Runner::WarmUp() {
  int64_t bytes = 0;
  for (const auto& [name, view] : loaded_.checkpoint().tensors()) bytes += std::ssize(view.bytes);
  if (static_cast<double>(bytes) > 0.9 * static_cast<double>(MemoryBytes())) return false;
  Say(fmt::format("reading {:.1f} GB of weights", static_cast<double>(bytes) * 1e-9));
  std::atomic<int64_t> sum = 0;
  for (const auto& [name, view] : loaded_.checkpoint().tensors()) {
    constexpr int64_t kPageBytes = 4096;
    const int64_t pages = (std::ssize(view.bytes) + kPageBytes - 1) / kPageBytes;
    if (is_cancelled()) return true;
    pool_.ParallelFor(pages, 256, [&](int64_t begin, int64_t end, int) {
      int64_t mine = 0;
      for (int64_t page = begin; page < end; ++page)
        mine += static_cast<int64_t>(view.bytes[static_cast<size_t>(page * kPageBytes)]);
      sum.fetch_add(mine, std::memory_order_relaxed);
    });
  }
  return true;
}

Divergence Runner::Diverge() {
  if (options_.mode == numerics::Mode::kOfficial) return {};
  DivergenceOptions options{.seconds = options_.seconds, .seed = options_.seed};
  options.is_cancelled = [this] { return is_cancelled(); };
  options.progress = [&](int64_t done) {
    Say(fmt::format("divergence from official numerics: token {} of {}", done + 1, options.tokens));
  };
  return MeasureDivergence(loaded_, ctx_, options);
}

MachineLimits Runner::Machine() {
  for (int i = 0; i < 10; ++i) limits_.SampleRead(), limits_.SampleBF16(), limits_.SampleF32();
  return {limits_.read_bytes_s(), limits_.bf16_flops(), limits_.f32_flops()};
}

// Runs `count` steps and returns it.
int64_t Runner::DecodeSteps(Batch& batch, int64_t count) {
  const int64_t rows = std::ssize(batch.items);
  for (int64_t step = 0; step < count; ++step) {
    for (TokenId& token : batch.tokens) token = RandomToken();
    executor_.Forward(batch.items, logits_.matrix(rows, loaded_.config().vocab_size));
  }
  return count;
}

DecodePoint Runner::Decode(int64_t context, int64_t batch_size) {
  const model::Config& config = loaded_.config();
  DecodePoint point;
  point.batch = batch_size;
  const int64_t steps = std::max<int64_t>(1, std::min(options_.steps, context - kWarmSteps));
  const int64_t length = std::max<int64_t>(0, context - steps - kWarmSteps);
  Batch batch;
  batch.tokens.resize(static_cast<size_t>(batch_size));
  for (int64_t i = 0; i < batch_size && !is_cancelled(); ++i) {
    Say(fmt::format("context {}, batch {}: filling sequence {}", context, batch_size, i + 1));
    batch.sequences.push_back(
        std::make_unique<model::Sequence>(config, length + steps + kWarmSteps, options_.mode));
    model::FillRandom(config, length, options_.seed + static_cast<uint64_t>(i),
                      *batch.sequences.back());
    batch.items.push_back(
        {batch.sequences.back().get(), {&batch.tokens[static_cast<size_t>(i)], 1}});
  }
  if (is_cancelled()) return point;
  DecodeSteps(batch, kWarmSteps);
  MeasureSteps(batch, steps, point);
  point.context = batch.sequences[0]->length();
  return point;
}

// Measures steps of the batch until there are enough of them or their time is up.
void Runner::MeasureSteps(Batch& batch, int64_t steps_max, DecodePoint& point) {
  std::vector<double> seconds, rates, fractions, layer_rates, layer_fractions, flops, of_peak;
  std::vector<double> ceilings, of_ceiling, reads, peaks;
  const double tokens = static_cast<double>(point.batch);
  const auto start = Clock::now();
  int64_t at_once = 1;
  double read_before = limits_.SampleRead(), peak_before = limits_.SampleBF16();
  while (point.steps < steps_max && !is_cancelled() &&
         (point.steps == 0 || SecondsSince(start) < options_.seconds)) {
    Say(fmt::format("context {}, batch {}: step {} of {}", batch.sequences[0]->length(),
                    point.batch, point.steps + 1, steps_max));
    trace_.ClearTotals();
    const int64_t count = DecodeSteps(batch, std::min(at_once, steps_max - point.steps));
    const PassCost cost = CostOf(trace_, loaded_.config(), count);
    const double read_after = limits_.SampleRead(), peak_after = limits_.SampleBF16();
    const double read = std::max(read_before, read_after);
    const double peak = std::max(peak_before, peak_after);
    read_before = read_after, peak_before = peak_after;
    reads.push_back(read), peaks.push_back(peak);
    const double step = cost.whole.seconds / static_cast<double>(count);
    at_once = std::max<int64_t>(1, static_cast<int64_t>(kIntervalSeconds / step));
    // The slower of reading everything once and computing everything, at the limits of now.
    const double bound = std::max(static_cast<double>(cost.whole.work.bytes()) / read,
                                  static_cast<double>(cost.whole.work.operations) / peak) /
                         static_cast<double>(count);
    seconds.push_back(step);
    rates.push_back(cost.whole.bytes_s());
    fractions.push_back(cost.whole.bytes_s() / read);
    layer_rates.push_back(cost.layers.bytes_s());
    layer_fractions.push_back(cost.layers.bytes_s() / read);
    flops.push_back(cost.whole.flops());
    of_peak.push_back(cost.whole.flops() / peak);
    ceilings.push_back(tokens / bound);
    of_ceiling.push_back(bound / step);
    point.cost += cost;
    point.steps += count;
  }
  point.step_seconds = Median(seconds);
  point.tokens_s = point.step_seconds > 0 ? tokens / point.step_seconds : 0;
  point.reading = {Median(rates), Median(fractions)};
  point.layers_reading = {Median(layer_rates), Median(layer_fractions)};
  point.computing = {Median(flops), Median(of_peak)};
  point.meanwhile = {Median(reads), Median(peaks)};
  point.ceiling_tokens_s = Median(ceilings);
  point.fraction_of_ceiling = Median(of_ceiling);
  if (point.cost.experts_chosen > 0)
    point.expert_overlap = point.cost.experts_read / point.cost.experts_chosen;
}

PrefillPoint Runner::Prefill(int64_t prompt_tokens) {
  PrefillPoint point;
  point.chunk = std::min(options_.chunk_tokens, prompt_tokens);
  peaks_.clear(), flops_.clear(), fractions_.clear(), layer_flops_.clear(),
      layer_fractions_.clear();
  token_seconds_.clear();
  const auto start = Clock::now();
  // Three rounds if there is time: the first may have had to wait for memory.
  for (int round = 0; round < 3; ++round)
    if (!MeasurePrompt(prompt_tokens, point) || SecondsSince(start) > options_.seconds) break;
  point.tokens_s = token_seconds_.empty() ? 0 : 1 / Median(token_seconds_);
  point.computing = {Median(flops_), Median(fractions_)};
  point.meanwhile.bf16_flops = Median(peaks_);
  point.layers_computing = {Median(layer_flops_), Median(layer_fractions_)};
  return point;
}

// One round over the prompt. False: interrupted.
bool Runner::MeasurePrompt(int64_t prompt_tokens, PrefillPoint& point) {
  const model::Config& config = loaded_.config();
  model::Sequence sequence(config, prompt_tokens, options_.mode);
  std::vector<TokenId> tokens(static_cast<size_t>(point.chunk));
  std::vector<PrefillChunk> chunks;
  while (sequence.length() < prompt_tokens && !is_cancelled()) {
    const int64_t position = sequence.length();
    const int64_t count = std::min(point.chunk, prompt_tokens - position);
    const bool is_last = position + count == prompt_tokens;
    Say(fmt::format("prompt: token {} of {}", position + 1, prompt_tokens));
    for (TokenId& token : tokens) token = RandomToken();
    const model::BatchItem item{&sequence,
                                {tokens.data(), static_cast<size_t>(count)},
                                is_last ? model::LogitRows::kLast : model::LogitRows::kNone};
    PeakTap tap(*this);
    tap.Sample();
    trace_.ClearTotals();
    executor_.Forward({&item, 1}, logits_.matrix(is_last ? 1 : 0, config.vocab_size));
    const PassCost cost = CostOf(trace_, config, 1);
    tap.Sample();
    peaks_.push_back(tap.peak());
    flops_.push_back(cost.whole.flops());
    fractions_.push_back(cost.whole.flops() / tap.peak());
    layer_flops_.push_back(cost.layers.flops());
    layer_fractions_.push_back(cost.layers.flops() / tap.peak());
    token_seconds_.push_back(cost.whole.seconds / static_cast<double>(count));
    chunks.push_back({position, count, cost.whole.seconds});
    point.tokens += count;
    point.cost += cost;
  }
  if (point.chunks.empty() || sequence.length() == prompt_tokens) point.chunks = std::move(chunks);
  return sequence.length() == prompt_tokens;
}

}  // namespace fathom::measure
