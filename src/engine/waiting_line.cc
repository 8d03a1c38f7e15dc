#include "engine/waiting_line.h"

#include <algorithm>
#include <utility>

namespace fathom::engine {
namespace {

// Keys whose turns are remembered; more than that are never in use at once.
constexpr size_t kKeysMax = 4096;

}  // namespace

bool WaitingLine::Any(FunctionRef<bool(const Job&)> is_so) const {
  return std::any_of(jobs_.begin(), jobs_.end(),
                     [&](const auto& entry) { return is_so(*entry.second); });
}

void WaitingLine::Push(std::unique_ptr<Job> job) {
  Turns& turns = turns_[job->request.priority];
  if (turns.next.size() >= kKeysMax) ForgetKeys(turns);
  int64_t& next = turns.next[job->request.key];
  const int64_t tag = std::max(turns.now, next);
  next = tag + 1;
  const Place place{-int64_t{job->request.priority}, tag, job->ticket};
  jobs_.emplace(place, std::move(job));
}

// Those whose latest turn has passed begin at the present one anyhow. When there are too many
// others, all begin anew: each waits one turn less, once.
void WaitingLine::ForgetKeys(Turns& turns) {
  std::erase_if(turns.next, [&](const auto& entry) { return entry.second <= turns.now; });
  if (turns.next.size() >= kKeysMax) turns.next.clear();
}

const Job* WaitingLine::Next(Cursor& cursor) const {
  const auto it = cursor.place_ ? jobs_.upper_bound(*cursor.place_) : jobs_.begin();
  if (it == jobs_.end()) return nullptr;
  cursor.place_ = it->first;
  return it->second.get();
}

std::unique_ptr<Job> WaitingLine::Take(const Cursor& cursor) {
  const auto it = cursor.place_ ? jobs_.find(*cursor.place_) : jobs_.end();
  if (it == jobs_.end()) return nullptr;
  std::unique_ptr<Job> job = std::move(it->second);
  int64_t& now = turns_[job->request.priority].now;
  now = std::max(now, std::get<1>(it->first));
  jobs_.erase(it);
  return job;
}

std::unique_ptr<Job> WaitingLine::Remove(uint64_t ticket) {
  const auto it = std::find_if(jobs_.begin(), jobs_.end(),
                               [&](const auto& entry) { return entry.second->ticket == ticket; });
  if (it == jobs_.end()) return nullptr;
  std::unique_ptr<Job> job = std::move(it->second);
  jobs_.erase(it);
  return job;
}

std::vector<std::unique_ptr<Job>> WaitingLine::RemoveAll() {
  std::vector<std::unique_ptr<Job>> all;
  for (auto& [place, job] : jobs_) all.push_back(std::move(job));
  jobs_.clear();
  return all;
}

}  // namespace fathom::engine
