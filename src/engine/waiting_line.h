// Requests that wait, in the order in which their turn comes: by priority, then in turn by key,
// then by arrival. Turns are start tags of fair queueing (Goyal, Vin, Cheng 1996) with requests of
// equal weight: a key's next request is tagged one turn after its latest, or with the present turn
// if that has passed, so a key that asks seldom goes ahead of one that asks all the time. Not
// thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "base/function_ref.h"
#include "engine/job.h"

namespace fathom::engine {

class WaitingLine {
  using Place = std::tuple<int64_t, int64_t, uint64_t>;  // -priority, tag, ticket

 public:
  // Where a walk along the line stands, which may change between two steps.
  class Cursor {
    friend class WaitingLine;
    std::optional<Place> place_;  // nullopt: before the first
  };

  int64_t size() const { return std::ssize(jobs_); }
  // The one whose turn is next; null when none waits.
  const Job* front() const { return jobs_.empty() ? nullptr : jobs_.begin()->second.get(); }

  bool Any(FunctionRef<bool(const Job&)> is_so) const;

  void Push(std::unique_ptr<Job> job);
  // Moves on to the next one; null behind the last.
  const Job* Next(Cursor& cursor) const;
  // Gives its turn to the one at the cursor; null when it has left the line.
  std::unique_ptr<Job> Take(const Cursor& cursor);
  // Null when no such ticket waits.
  std::unique_ptr<Job> Remove(uint64_t ticket);
  std::vector<std::unique_ptr<Job>> RemoveAll();

 private:
  struct Turns {
    int64_t now = 0;                                // tag of the latest request that was taken
    std::unordered_map<std::string, int64_t> next;  // by key; where none is named: now
  };

  void ForgetKeys(Turns& turns);

  std::map<Place, std::unique_ptr<Job>> jobs_;
  std::map<int, Turns> turns_;  // by priority
};

}  // namespace fathom::engine
