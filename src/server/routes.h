// Which of the server's answers a method and path ask for. Source: docs/api.md, "Routes".
#pragma once

#include <string>
#include <string_view>

#include "api/error.h"

namespace fathom::server {

enum class RouteKind {
  kUnknown,      // no such path: 404
  kWrongMethod,  // the path takes another method: 405, see Route::allow
  kPreflight,    // OPTIONS: 204
  kAlive,        // 200 and a word
  kHealth,       // 200 only if the model computes
  kModels,
  kModel,  // Route::id
  kBalance,
  kStored,       // an object that is never stored: 404
  kGenerate,     // in Route::dialect
  kCountTokens,  // likewise
};

struct Route {
  RouteKind kind = RouteKind::kUnknown;
  // Of the answer, or of the error: by the path.
  api::Dialect dialect = api::Dialect::kChat;
  bool is_beta = false;          // under /beta
  bool wants_anthropic = false;  // kModels, kModel: by the path
  std::string id;                // kModel
  std::string allow;             // kWrongMethod: for the Allow header
};

// `path` without query. Prefixes /v1 and /beta may be there or not.
Route FindRoute(std::string_view method, std::string_view path);

}  // namespace fathom::server
