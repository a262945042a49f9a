// The consensus worker: its peer port.
#include "pg/consensus_worker.h"

#include "core/frame.h"
#include "pg/clock.h"
#include "pg/shared.h"
#include "pg/storage.h"

namespace orchestra::pg {

void ConsensusWorker::ConfigureNet() {
  net_.reset();
  net_problem_.clear();
  net_tried_at_ = Instant{};
  if (settings_.secret_file.empty()) {
    if (state_.phase != Phase::kUnconfigured)
      net_problem_ = "orchestra.secret_file is not set: the peer port stays closed";
    return;
  }
  auto secret = net::LoadSecret(settings_.secret_file);
  if (auto* error = std::get_if<std::string>(&secret)) {
    net_problem_ = *error;
    return;
  }
  if (net_problem_ = PrepareStorage(); !net_problem_.empty()) return;
  net::PeerConfig config;
  config.bind = settings_.peer_bind;
  config.name = settings_.node_name;
  config.secret = std::move(std::get<net::Secret>(secret));
  net_ = std::make_unique<net::PeerNet>(std::move(config));
}

// The file may hold another secret by now. That it cannot be read any more is to be told, and no
// reason to leave the cluster.
void ConsensusWorker::RereadSecret() {
  auto secret = net::LoadSecret(settings_.secret_file);
  net_problem_.clear();
  if (auto* error = std::get_if<std::string>(&secret))
    net_problem_ = *error;
  else if (!net_->Uses(std::get<net::Secret>(secret)))
    ConfigureNet();
}

void ConsensusWorker::Send(const Envelope& envelope) {
  if (!net_) return;
  Frame frame;
  const RegisterValue* value = CommittedValue(state_);
  if (!value && state_.durable.accepted) value = state_.durable.accepted->value.get();
  if (state_.creating) value = &state_.creating->value;
  frame.header.cluster = value           ? value->cluster_id
                         : state_.marker ? state_.marker->cluster_id
                                         : ClusterId{};
  frame.header.node = envelope.from;
  frame.header.to = envelope.to;
  frame.header.incarnation =
      state_.phase == Phase::kUnconfigured ? *incarnation_ : state_.durable.identity.incarnation;
  frame.header.boot = state_.durable.boot_count;
  frame.message = envelope.message;
  const std::string bytes = EncodeFrame(frame);
  if (envelope.to != kNoNode) {
    if (const std::optional<Address> to = PeerAddress(state_, envelope.to))
      net_->Send(now_.monotonic_raw, *to, bytes);
    return;
  }
  if (envelope.at.port != 0) return net_->Send(now_.monotonic_raw, envelope.at, bytes);
  for (const Address& seed : settings_.seeds)
    if (seed != settings_.peer_address) net_->Send(now_.monotonic_raw, seed, bytes);
}

void ConsensusWorker::ReceiveFrames() {
  if (!net_) return;
  if (!net_->listening() && Since(now_, net_tried_at_) >= kRetry) {
    net_tried_at_ = now_;
    const net::NetError error = net_->Start();
    net_problem_ = error.text;
    pg_atomic_write_u32(&shared->workers.peer_port_error, static_cast<uint32>(error.code));
    publish_now_ = true;
  }
  std::vector<net::Incoming> arrived;
  net_->Poll(now_.monotonic_raw, &arrived);
  // What was read may have been sent after this turn began: a promise counts from its receipt.
  now_ = Now();
  TellRefusals();
  for (const net::Incoming& in : arrived) {
    const FrameHeader& header = in.frame.header;
    const RegisterValue* value = CommittedValue(state_);
    // Two nodes with one configuration: the number must belong to the name.
    const Member* sender = value ? FindMember(*value, header.node) : nullptr;
    if (sender && sender->name != in.name) continue;
    Apply(Received{{header.node, header.to, in.frame.message},
                   header.cluster,
                   header.incarnation,
                   header.boot});
  }
}

// Ports differ from attempt to attempt: without digits the same refusal reads the same.
void ConsensusWorker::TellRefusals() {
  const net::PeerIncident& incident = net_->last_incident();
  if (incident.text.empty() || incident.at == refusal_told_) return;
  refusal_told_ = incident.at;
  std::string key = incident.text;
  std::erase_if(key, [](char c) { return c >= '0' && c <= '9'; });
  notes_.Repeat(
      key,
      "orchestra: peer_refused node=" + settings_.node_name + " reason=\"" + incident.text + "\"",
      now_.monotonic_raw);
}

}  // namespace orchestra::pg
