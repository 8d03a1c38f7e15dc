#include "measure/cost.h"

#include "base/check.h"
#include "model/layout.h"
#include "tensor/view.h"

namespace fathom::measure {
namespace {

using kernels::Operation;
using kernels::Trace;

Cost CostOfTotal(const Trace::Total& total) {
  return {static_cast<double>(total.own_ns) * 1e-9, total.work};
}

// Bytes of one routed expert as it is read: three matrices of D * F values with their scales.
double ExpertBytes(const model::Config& config) {
  const int64_t hidden = config.hidden_size, width = config.moe_intermediate_size;
  const tensor::Format format = model::FormatsOf(config).experts;
  const tensor::QuantView up{format, nullptr, nullptr, width, hidden};
  const tensor::QuantView down{format, nullptr, nullptr, hidden, width};
  return static_cast<double>(2 * up.bytes() + down.bytes());
}

double ExpertOperations(const model::Config& config) {
  return 2.0 * 3.0 * static_cast<double>(config.hidden_size) *
         static_cast<double>(config.moe_intermediate_size);
}

}  // namespace

PassCost& PassCost::operator+=(const PassCost& other) {
  passes += other.passes;
  whole += other.whole;
  layers += other.layers;
  head += other.head;
  rest += other.rest;
  if (operations.empty()) {
    operations = other.operations;
  } else {
    FATHOM_CHECK_EQ(operations.size(), other.operations.size());
    for (size_t i = 0; i < operations.size(); ++i) {
      operations[i].calls += other.operations[i].calls;
      operations[i].cost += other.operations[i].cost;
    }
  }
  for (size_t i = 0; i < kinds.size(); ++i) kinds[i] += other.kinds[i];
  experts_read += other.experts_read;
  experts_chosen += other.experts_chosen;
  return *this;
}

PassCost CostOf(const Trace& trace, const model::Config& config, int64_t passes) {
  PassCost pass;
  pass.passes = passes;
  OperationCost head{"output head", 0, {}}, rest{"embedding and the rest", 0, {}};
  for (int i = 0; i < kernels::kOperations; ++i) {
    const Operation operation = static_cast<Operation>(i);
    if (operation == Operation::kMeasurement) continue;
    OperationCost inside{
        operation == Operation::kLayer ? "between operations" : Name(operation), 0, {}};
    for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
      const Trace::Total& total = trace.total(layer, operation);
      inside.calls += total.calls;
      inside.cost += CostOfTotal(total);
      pass.kinds[static_cast<size_t>(config.kind(layer))] += CostOfTotal(total);
    }
    pass.layers += inside.cost;
    if (operation == Operation::kRoutedExperts) {
      pass.experts_read = static_cast<double>(inside.cost.work.weight_bytes) / ExpertBytes(config);
      pass.experts_chosen =
          static_cast<double>(inside.cost.work.operations) / ExpertOperations(config);
    }
    pass.operations.push_back(std::move(inside));
    const Trace::Total& outside = trace.total(Trace::kOutside, operation);
    const bool is_rest = operation == Operation::kPass || operation == Operation::kEmbed;
    OperationCost& place = is_rest ? rest : head;
    place.calls += outside.calls;
    place.cost += CostOfTotal(outside);
  }
  pass.head = head.cost;
  pass.rest = rest.cost;
  pass.operations.push_back(std::move(head));
  pass.operations.push_back(std::move(rest));
  for (const OperationCost& operation : pass.operations) pass.whole += operation.cost;
  return pass;
}

int64_t CountLayers(const model::Config& config, model::LayerKind kind) {
  int64_t count = 0;
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer)
    count += config.kind(layer) == kind ? 1 : 0;
  return count;
}

}  // namespace fathom::measure
