// A step: one row of every choice that runs, then prompt tokens as far as the pace allows, shared
// among keys; one pass; a token for everyone who has logits.
#include "engine/batcher.h"

#include <time.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "engine/cuts.h"

namespace fathom::engine {
namespace {

double ThreadCpuSeconds() {
  timespec used;
  if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used) != 0) return 0;
  return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) * 1e-9;
}

// Any token of the vocabulary will do.
constexpr TokenId kProbeToken = 0;

}  // namespace

Batcher::Batcher(const model::LoadedModel& model, const EngineOptions& options,
                 std::function<void()> wake)
    : config_(model.config()),
      options_(options),
      pool_(options.session.threads, options.session.pinning),
      // Decode rows are never held back, prompts get at least one row, and a probe may come along.
      executor_(config_, model.weights(),
                {.batch_tokens_max = options.session.chunk_tokens + options.sequences_max + 1},
                kernels::Context{pool_, workspace_, *options.session.path, options.session.mode,
                                 options.session.trace}),
      logits_(options.sequences_max * config_.vocab_size),
      probe_(config_, 1, options.session.mode),
      source_(config_, options.session.mode, options.cache_bytes, options.disk_store),
      pace_(options.session.chunk_tokens) {
  if (options.disk_store != nullptr)
    loader_.emplace(options.disk_store, source_.pool(), std::move(wake));
}

void Batcher::Step(Next next, bool probe) {
  items_.clear();
  entries_.clear();
  StartLoads();
  const int64_t decode_rows = AddChoices();
  PlanPrompts(next, pace_.PromptRows(decode_rows));
  AddPrompts();
  if (probe) AddProbe();
  if (items_.empty()) return;
  Forward();
  Deliver();
  RemoveDone();
  CountState();
}

int64_t Batcher::AddChoices() {
  for (const auto& job : jobs_) {
    if (job->unread() > 0) continue;
    for (int64_t i = 0; i < job->count(); ++i) {
      const Choice& choice = job->choices[static_cast<size_t>(i)];
      if (choice.has_ended) continue;
      items_.push_back({choice.sequence.get(), choice.tokens().last(1), model::LogitRows::kLast});
      entries_.push_back({job.get(), i, 1});
    }
  }
  return std::ssize(items_);
}

void Batcher::AddPrompts() {
  for (const auto& job : jobs_) {
    if (job->planned == 0) continue;
    const auto rows =
        std::span<const TokenId>(job->request.prompt)
            .subspan(static_cast<size_t>(job->read), static_cast<size_t>(job->planned));
    items_.push_back(
        {job->choices.front().sequence.get(), rows,
         job->planned == job->unread() ? model::LogitRows::kLast : model::LogitRows::kNone});
    entries_.push_back({job.get(), -1, job->planned});
    job->planned = 0;
  }
}

void Batcher::AddProbe() {
  probe_.Reset();
  items_.push_back({&probe_, {&kProbeToken, 1}, model::LogitRows::kNone});
  entries_.push_back({});
}

// Every key that waits gets a reader, so that it has a share; what the readers leave goes to
// whoever is next.
void Batcher::PlanPrompts(Next next, int64_t rows) {
  AdmitNewKeys(next, rows);
  rows = SharePromptRows(rows);
  while (rows > 0) {
    std::unique_ptr<Job> taken = next([&](const Job& job) { return Judge(job); });
    if (taken == nullptr) return;
    Job& job = Admit(std::move(taken));
    job.planned = std::min(rows, job.readable());
    rows -= job.planned;
  }
}

// Only for requests of the highest priority that waits, unless something higher is being read: the
// others have no claim to a share. One that does not fit is not overtaken, or it might never start.
void Batcher::AdmitNewKeys(Next next, int64_t readers_max) {
  std::vector<const Job*> readers;
  for (const auto& job : jobs_)
    if (job->unread() > 0) readers.push_back(job.get());
  while (std::ssize(readers) < readers_max) {
    const Job* first = nullptr;
    std::unique_ptr<Job> taken = next([&](const Job& job) {
      if (first == nullptr) first = &job;
      const int priority = job.request.priority;
      if (priority != first->request.priority) return Verdict::kStop;
      for (const Job* reader : readers) {
        if (reader->request.priority > priority) return Verdict::kStop;
        if (reader->request.priority == priority && reader->request.key == job.request.key)
          return Verdict::kSkip;
      }
      return Judge(job);
    });
    if (taken == nullptr) return;
    readers.push_back(&Admit(std::move(taken)));
  }
}

// Higher priorities first. Returns what is left.
int64_t Batcher::SharePromptRows(int64_t rows) {
  std::vector<Job*> readers;
  for (const auto& job : jobs_)
    if (job->unread() > 0) readers.push_back(job.get());
  std::stable_sort(readers.begin(), readers.end(), [](const Job* a, const Job* b) {
    return a->request.priority > b->request.priority;
  });
  for (auto first = readers.begin(); first != readers.end() && rows > 0;) {
    const int priority = (*first)->request.priority;
    const auto last = std::find_if(
        first, readers.end(), [&](const Job* job) { return job->request.priority != priority; });
    std::vector<Job*> equals(first, last);
    rows = ShareAmong(equals, rows);
    first = last;
  }
  return rows;
}

// Equal shares for the keys. Inside a key the first comes first: it is done sooner, and the others
// no later.
int64_t Batcher::ShareAmong(std::vector<Job*>& readers, int64_t rows) {
  std::vector<Job*> heads;
  while (rows > 0) {
    heads.clear();
    for (Job* job : readers) {
      const bool has_head = std::any_of(heads.begin(), heads.end(), [&](const Job* head) {
        return head->request.key == job->request.key;
      });
      if (!has_head && job->planned < job->readable()) heads.push_back(job);
    }
    if (heads.empty()) return rows;
    const int64_t share = std::max<int64_t>(1, rows / std::ssize(heads));
    for (Job* job : heads) {
      const int64_t more = std::min({share, rows, job->readable() - job->planned});
      job->planned += more;
      rows -= more;
    }
  }
  return 0;
}

// One that waits for others to do its work is no reason for those behind it to wait as well.
Batcher::Verdict Batcher::Judge(const Job& job) {
  if (job.load != nullptr && UsesCache(job)) {
    if (job.load->state == DiskLoad::State::kNew) StartLoad(job.load);
    if (job.load->state == DiskLoad::State::kLoading) return Verdict::kSkip;
  }
  if (UsesCache(job) && WaitsForReader(job)) return Verdict::kSkip;
  return Fits(job) ? Verdict::kTake : Verdict::kStop;
}

// Whether somebody with as much claim is reading the beginning of this very prompt, and will leave
// a snapshot of more of it.
bool Batcher::WaitsForReader(const Job& job) const {
  if (options_.cache_bytes == 0) return false;
  return std::any_of(jobs_.begin(), jobs_.end(), [&](const auto& reader) {
    if (reader->cuts.empty() || reader->open_choices == 0 ||
        reader->request.key != job.request.key || reader->request.priority < job.request.priority)
      return false;
    const auto& read = reader->request.prompt;
    const auto& wanted = job.request.prompt;
    const int64_t first = reader->cuts.front();
    return first < std::ssize(wanted) &&
           std::equal(wanted.begin(), wanted.begin() + first, read.begin()) &&
           source_.Depth(wanted, job.request.key) < first;
  });
}

Job& Batcher::Admit(std::unique_ptr<Job> admitted) {
  jobs_.push_back(std::move(admitted));
  Job& job = *jobs_.back();
  counts_.running += job.count();
  job.open_choices = job.count();
  SequenceSource::Acquired acquired =
      UsesCache(job)
          ? source_.Acquire(job.request.prompt, job.request.key, job.capacity, job.load.get())
          : source_.Acquire(job.capacity);
  job.load.reset();
  job.choices.front().sequence = std::move(acquired.sequence);
  job.reused = job.read = acquired.reused;
  if (UsesCache(job))
    job.cuts = WantedCuts(std::ssize(job.request.prompt), job.reused, job.request.boundaries,
                          options_.cache_every);
  MakeRoom(0);
  CountAdmission(job, acquired.miss);
  job.request.sink->OnCache(acquired.miss);
  job.request.sink->OnStart(job.reused);
  return job;
}

void Batcher::Forward() {
  int64_t decode_rows = 0, prompt_rows = 0;
  for (const Entry& entry : entries_) (entry.choice < 0 ? prompt_rows : decode_rows) += entry.rows;
  const int64_t logit_rows = model::Executor::LogitRowCount(items_);
  const auto start = std::chrono::steady_clock::now();
  const double cpu_start = ThreadCpuSeconds();
  executor_.Forward(items_, logits_.matrix(logit_rows, config_.vocab_size));
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  counts_.forward_cpu_seconds += ThreadCpuSeconds() - cpu_start;
  counts_.forward_seconds += seconds;
  counts_.steps += 1;
  counts_.prompt_tokens += prompt_rows;
  pace_.Record(decode_rows, prompt_rows, seconds);
}

void Batcher::Deliver() {
  const auto vocab = static_cast<size_t>(config_.vocab_size);
  const float* row = logits_.data();
  for (size_t i = 0; i < entries_.size(); ++i) {
    const Entry& entry = entries_[i];
    if (entry.job == nullptr) continue;
    Job& job = *entry.job;
    const std::span<const float> logits{row, vocab};
    if (items_[i].want == model::LogitRows::kLast) row += vocab;
    if (entry.choice >= 0) {
      KeepTail(job, job.choices[static_cast<size_t>(entry.choice)]);
      TakeToken(job, entry.choice, logits);
      continue;
    }
    job.read += entry.rows;
    RememberPrompt(job);
    job.request.sink->OnPrompt(job.read - job.reused, std::ssize(job.request.prompt) - job.reused);
    if (job.unread() == 0) AfterPrompt(job, logits);
  }
}

// All choices go on from the one state and the one row of logits. Copies are made before the first
// choice takes its token: with it the choice may end, and its state be gone.
void Batcher::AfterPrompt(Job& job, std::span<const float> logits) {
  KeepTail(job, job.choices.front());
  for (int64_t i = 1; i < job.count(); ++i)
    job.choices[static_cast<size_t>(i)].sequence =
        source_.Fork(*job.choices.front().sequence, job.capacity);
  for (int64_t i = 0; i < job.count(); ++i) {
    job.choices[static_cast<size_t>(i)].Begin(job.request.prompt, config_.vocab_size);
    TakeToken(job, i, logits);
  }
}

void Batcher::TakeToken(Job& job, int64_t number, std::span<const float> logits) {
  if (options_.watch_logits != nullptr)
    options_.watch_logits(options_.watch_context, job.request.sink.get(), number, logits);
  Choice& choice = job.choices[static_cast<size_t>(number)];
  const int64_t before = std::ssize(choice.tokens());
  const auto reason = choice.Take(logits, job, number, options_.session.capacity_tokens);
  counts_.output_tokens += std::ssize(choice.tokens()) - before;
  if (reason) EndChoice(job, number, *reason);
}

void Batcher::EndChoice(Job& job, int64_t number, FinishReason reason) {
  Choice& choice = job.choices[static_cast<size_t>(number)];
  // A choice other than the first has no state while the prompt is read.
  if (choice.sequence != nullptr) RememberAnswer(job, choice);
  choice.sequence.reset();
  choice.has_ended = true;
  counts_.running -= 1;
  job.open_choices -= 1;
  job.request.sink->OnEnd(number, reason);
}

void Batcher::CancelJob(Job& job) {
  for (int64_t i = 0; i < job.count(); ++i)
    if (!job.choices[static_cast<size_t>(i)].has_ended) EndChoice(job, i, FinishReason::kCancelled);
}

void Batcher::Cancel(uint64_t ticket) {
  for (const auto& job : jobs_)
    if (job->ticket == ticket) CancelJob(*job);
  RemoveDone();
  CountState();
}

void Batcher::CancelAll() {
  for (const auto& job : jobs_) CancelJob(*job);
  RemoveDone();
  CountState();
}

void Batcher::RemoveDone() {
  std::erase_if(jobs_, [&](const std::unique_ptr<Job>& job) {
    if (job->open_choices > 0) return false;
    job->request.sink->OnDone();
    jobs_done_ += 1;
    return true;
  });
  counts_.reading =
      std::count_if(jobs_.begin(), jobs_.end(), [](const auto& job) { return job->unread() > 0; });
}

}  // namespace fathom::engine
