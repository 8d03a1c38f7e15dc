// What the engine's thread does: admits requests, lays out each step, runs the forward pass and
// hands every choice its logits. Everything here belongs to that one thread; what other threads ask
// for is engine.cc.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/function_ref.h"
#include "base/thread_pool.h"
#include "engine/disk_load.h"
#include "engine/engine.h"
#include "engine/job.h"
#include "engine/sequence_source.h"
#include "engine/step_pace.h"
#include "kernels/context.h"
#include "model/forward.h"
#include "model/weights.h"
#include "tensor/buffer.h"

namespace fathom::engine {

class Batcher {
 public:
  // `options` as resolved. Keeps references to both. `wake` makes somebody call Step; any thread
  // may call it.
  Batcher(const model::LoadedModel& model, const EngineOptions& options,
          std::function<void()> wake);

  enum class Verdict { kTake, kSkip, kStop };
  // Takes the first waiting request that the judge wants; null when it stops before, or wants none.
  using Next = FunctionRef<std::unique_ptr<Job>(FunctionRef<Verdict(const Job&)>)>;

  bool is_idle() const { return jobs_.empty(); }
  int threads() const { return pool_.threads(); }
  // A request has come whose prefix may lie on disk.
  void Expect(std::shared_ptr<DiskLoad> load);
  // One pass, if there is anything to do. `probe` asks for one in any case.
  void Step(Next next, bool probe);
  void Cancel(uint64_t ticket);
  void CancelAll();

  // Requests whose OnDone has been called.
  int64_t jobs_done() const { return jobs_done_; }
  // Of it: reading, running, state_bytes, and what is counted since the start; processor time is
  // this thread's alone.
  const EngineStats& counts() const { return counts_; }
  // Processor time of the other threads. Any thread may ask.
  double WorkerCpuSeconds() const { return pool_.WorkerCpuSeconds(); }

 private:
  // What stands in a batch: one row of a choice, or `rows` prompt tokens of a job (choice -1).
  struct Entry {
    Job* job = nullptr;
    int64_t choice = -1;
    int64_t rows = 0;
  };

  int64_t AddChoices();
  void AddPrompts();
  void AddProbe();
  void PlanPrompts(Next next, int64_t rows);
  void AdmitNewKeys(Next next, int64_t readers_max);
  int64_t SharePromptRows(int64_t rows);
  int64_t ShareAmong(std::vector<Job*>& readers, int64_t rows);
  Verdict Judge(const Job& job);
  bool WaitsForReader(const Job& job) const;
  bool Fits(const Job& job);
  Job& Admit(std::unique_ptr<Job> job);
  void Forward();
  void Deliver();
  void AfterPrompt(Job& job, std::span<const float> logits);
  void TakeToken(Job& job, int64_t choice, std::span<const float> logits);
  void EndChoice(Job& job, int64_t choice, FinishReason reason);
  void CancelJob(Job& job);
  void RemoveDone();

  // The cache's part; batcher_cache.cc.
  bool UsesCache(const Job& job) const { return source_.is_on() && job.request.use_cache; }
  int64_t SpokenFor() const;
  bool MakeRoom(int64_t bytes);
  void StartLoads();
  bool StartLoad(const std::shared_ptr<DiskLoad>& load);
  void DropLoads();
  void CountAdmission(const Job& job, const cache::Miss& miss);
  void RememberPrompt(Job& job);
  void KeepTail(const Job& job, Choice& choice);
  void RememberAnswer(const Job& job, Choice& choice);
  void CountState();

  const model::Config& config_;
  const EngineOptions& options_;
  ThreadPool pool_;
  kernels::Workspace workspace_;
  model::Executor executor_;
  tensor::Buffer<float> logits_;  // [sequences_max, V]
  model::Sequence probe_;         // for passes without a request
  SequenceSource source_;
  std::optional<DiskLoader> loader_;
  std::vector<std::weak_ptr<DiskLoad>> loads_;  // of requests that wait, in the order they came
  StepPace pace_;
  std::vector<std::unique_ptr<Job>> jobs_;  // in the order of admission
  std::vector<model::BatchItem> items_;     // of the step, and what each is
  std::vector<Entry> entries_;
  EngineStats counts_;
  int64_t jobs_done_ = 0;
};

}  // namespace fathom::engine
