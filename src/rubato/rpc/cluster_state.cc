#include "rubato/rpc/cluster_state.h"

#include <algorithm>
#include <optional>
#include <set>

#include "rubato/base/archive.h"
#include "rubato/base/digest.h"
#include "rubato/base/one_line.h"
#include "rubato/codec/codec.h"
#include "rubato/rpc/wire.h"
#include "rubato/server/encoded_delta.h"

namespace rubato {

StatusOr<std::unique_ptr<ClusterState>> ClusterState::make(
    const MachineConfig& config, const Layout& layout, std::vector<int64_t> shard_sequences,
    int64_t tokens_per_sequence, std::vector<float> theta, int threads, DeltaShelf deltas,
    VersionStore* versions) {
  RUBATO_CHECK(static_cast<int64_t>(theta.size()) == layout.size(), theta.size());
  RUBATO_ASSIGN_OR_RETURN(Machine machine, make_machine(config, layout, std::move(shard_sequences),
                                                        tokens_per_sequence));
  return std::unique_ptr<ClusterState>(
      new ClusterState(std::move(machine), std::move(theta), threads, std::move(deltas), versions));
}

ClusterState::ClusterState(Machine machine, std::vector<float> theta, int threads,
                           DeltaShelf deltas, VersionStore* versions)
    : pool_(make_update_pool(threads, static_cast<int64_t>(theta.size()))),
      coordinator_(std::move(machine.coordinator)),
      server_(std::make_unique<ServerModel>(std::move(theta), std::move(machine.chain), pool_.get(),
                                            machine.codecs.down)),
      deltas_(std::move(deltas)),
      versions_(versions) {
  server_->measure_updates();
  RUBATO_CHECK(versions_ != nullptr || !server_->needs().task_base);
}

StatusOr<Effects> ClusterState::process(const LoggedEvent& record) {
  now_ = std::max(now_, record.now);
  ++records_;
  Effects effects;
  coordinator_->step(record.now, record.event, effects);
  RUBATO_RETURN_IF_ERROR(check_codec(record, effects));
  bool versions_changed = false;
  for (const Effect& effect : effects) {
    if (const auto* update = std::get_if<Apply>(&effect)) {
      RUBATO_RETURN_IF_ERROR(apply(*update));
      versions_changed = true;
    } else if (const auto* dispatch = std::get_if<Dispatch>(&effect)) {
      RUBATO_RETURN_IF_ERROR(publish_for(dispatch->task));
      versions_changed = true;
    } else if (const auto* reject = std::get_if<Reject>(&effect)) {
      // Refused for good: a replay needs the event's facts only. Another's task keeps its delta.
      if (coordinator_->find_task(reject->task) == nullptr) {
        RUBATO_RETURN_IF_ERROR(deltas_.remove(reject->task));
      }
    } else if (const auto* discard = std::get_if<Discard>(&effect)) {
      RUBATO_RETURN_IF_ERROR(deltas_.remove(discard->task));
    }
  }
  if (versions_changed) RUBATO_RETURN_IF_ERROR(retain_versions());
  return effects;
}

// A delta is decoded by the codec that its worker agreed on, which its file on the shelf names. The
// journal names it too, so that a file of another past is found out before it moves anything.
Status ClusterState::check_codec(const LoggedEvent& record, const Effects& effects) const {
  const auto* update = std::get_if<UpdateArrived>(&record.event);
  if (update == nullptr || record.notes.codec.empty()) return absl::OkStatus();
  const auto is_unread = [&](const auto& effect) {
    using E = std::remove_cvref_t<decltype(effect)>;
    if constexpr (std::is_same_v<E, Reject> || std::is_same_v<E, Discard> ||
                  std::is_same_v<E, AlreadyApplied>) {
      return effect.task == update->task;
    } else {
      return false;
    }
  };
  for (const Effect& effect : effects) {
    if (std::visit(is_unread, effect)) return absl::OkStatus();  // its bytes may be gone
  }
  RUBATO_ASSIGN_OR_RETURN(const SpooledDelta delta, deltas_.read(update->task));
  const DeltaMeta& meta = delta.header.meta;
  if (meta.codec == record.notes.codec && meta.codec_options == record.notes.codec_options)
    return absl::OkStatus();
  return absl::DataLossError(cat("[cluster] ", delta.path, ": got a delta of codec ",
                                 one_line(meta.codec), " ", one_line(meta.codec_options), ", want ",
                                 record.notes.codec, " ", one_line(record.notes.codec_options),
                                 ", which the journal says of task ", update->task));
}

Status ClusterState::apply(const Apply& effect) {
  struct Member {
    SpooledDelta spooled;
    std::shared_ptr<const Codec> codec;
    std::optional<EncodedDelta> decoded;
    PublishedVersion base;
  };
  const auto num_params = static_cast<int64_t>(theta().size());
  std::vector<Member> members(effect.members.size());
  std::vector<ServerModel::Delta> deltas;
  for (size_t i = 0; i < members.size(); ++i) {
    Member& member = members[i];
    RUBATO_ASSIGN_OR_RETURN(member.spooled, deltas_.read(effect.members[i].task));
    const DeltaMeta& meta = member.spooled.header.meta;
    RUBATO_ASSIGN_OR_RETURN(member.codec, codec_from_text(meta.codec, meta.codec_options));
    const auto encoded = std::as_bytes(std::span(member.spooled.payload));
    RUBATO_RETURN_IF_ERROR(annotate(member.codec->check(encoded, num_params), member.spooled.path));
    member.decoded.emplace(*member.codec, encoded, num_params);
    ServerModel::Delta& delta = deltas.emplace_back();
    delta.values = &*member.decoded;
    if (server_->needs().task_base) {
      const auto base = bases_.find(effect.members[i].task);
      RUBATO_CHECK(base != bases_.end());
      RUBATO_ASSIGN_OR_RETURN(member.base, versions_->read(base->second));
      delta.base = member.base.values;
    }
  }
  server_->apply(effect, deltas);
  for (const Apply::Member& member : effect.members) bases_.erase(member.task);
  return absl::OkStatus();
}

Status ClusterState::publish_for(const Task& task) {
  if (server_->needs().task_base) bases_[task.id] = task.base;
  if (versions_ == nullptr || published_ == task.base) return absl::OkStatus();
  RUBATO_RETURN_IF_ERROR(versions_->publish(task.base, *server_->publish()));
  published_ = task.base;
  return absl::OkStatus();
}

Status ClusterState::retain_versions() {
  if (versions_ == nullptr) return absl::OkStatus();
  std::set<TaskId> group;
  for (const TaskId task : coordinator_->tasks_in_group()) group.insert(task);
  std::erase_if(bases_, [&](const auto& entry) {
    return coordinator_->find_task(entry.first) == nullptr && !group.contains(entry.first);
  });
  std::set<Version> wanted = wanted_versions();
  wanted.insert(pinned_.begin(), pinned_.end());
  return versions_->retain(wanted);
}

std::set<Version> ClusterState::wanted_versions() const {
  std::set<Version> wanted;
  for (const Task& task : coordinator_->tasks_in_flight()) wanted.insert(task.base);
  for (const auto& [task, base] : bases_) wanted.insert(base);
  return wanted;
}

std::set<TaskId> ClusterState::needed_deltas() const {
  std::set<TaskId> needed;
  for (const TaskId task : coordinator_->tasks_in_group()) needed.insert(task);
  for (const TaskId task : coordinator_->tasks_awaited()) needed.insert(task);
  return needed;
}

Status ClusterState::persist_versions() {
  std::set<Version> wanted = wanted_versions();
  // One that is gone already is its worker's loss, who hands the task back.
  const std::vector<Version> kept = versions_->list();
  std::erase_if(wanted,
                [&](Version version) { return !std::ranges::binary_search(kept, version); });
  RUBATO_RETURN_IF_ERROR(versions_->persist(wanted));
  pinned_ = std::move(wanted);
  return absl::OkStatus();
}

void ClusterState::walk_state(StateWalk& walk) {
  coordinator_->walk_state(walk);
  PrefixedWalk outer(walk, "outer.");
  server_->walk_state(outer);
  walk_record(walk, "cluster", [this](auto& parts) { parts(now_, records_, bases_); });
}

std::string ClusterState::digest() {
  StateImage image;
  StateSaver saver(image);
  walk_state(saver);
  Digester digester;
  digester.update(digest_of(theta()));
  for (const auto& [name, bytes] : image) {
    digester.update(name);
    digester.update(digest_of(std::string_view(bytes)));
  }
  return digester.hex();
}

}  // namespace rubato
