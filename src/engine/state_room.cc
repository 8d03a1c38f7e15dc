#include "engine/state_room.h"

namespace fathom::engine {
namespace {

using model::kPageTokens;

int64_t PagesFor(int64_t tokens) { return (tokens + kPageTokens - 1) / kPageTokens; }

// Of a choice that begins with the prompt's full pages, which another one has.
int64_t PagesOfFork(const Job& job) {
  return PagesFor(job.capacity) - std::ssize(job.request.prompt) / kPageTokens;
}

// An open page that several refer to is copied before it is written.
int64_t PagesToCome(const model::Sequence& sequence) {
  const std::span<const model::PageRef> pages = sequence.pages();
  const bool copies = sequence.length() % kPageTokens != 0 && !pages.back().is_only();
  return PagesFor(sequence.capacity()) - std::ssize(pages) + (copies ? 1 : 0);
}

}  // namespace

int64_t NeedOf(const Job& job, int64_t reused, const StateSizes& sizes) {
  const int64_t pages =
      PagesFor(job.capacity) - reused / kPageTokens + (job.count() - 1) * PagesOfFork(job);
  return job.count() * sizes.own + pages * sizes.page;
}

int64_t StillToTake(const Job& job, const StateSizes& sizes) {
  int64_t bytes = 0;
  for (const Choice& choice : job.choices) {
    if (choice.has_ended) continue;
    const int64_t pages =
        choice.sequence != nullptr ? PagesToCome(*choice.sequence) : PagesOfFork(job);
    bytes += sizes.own + pages * sizes.page + (choice.tail != nullptr ? sizes.tail : 0);
  }
  return bytes;
}

}  // namespace fathom::engine
