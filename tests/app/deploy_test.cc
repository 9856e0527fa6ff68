// The files in deploy/ are what their readers take: units and manifests are well-formed, their
// parts name each other as they must, and every command line in them, and every one in
// docs/operating.md, is one that the program knows.
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>

#include "tests/app/process.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <yaml-cpp/yaml.h>

#include "rubato/app/program.h"
#include "rubato/base/text.h"

namespace rubato {
namespace {

using ::testing::Contains;

std::string deployed(const std::string& name) {
  return std::string(RUBATO_SOURCE_DIR) + "/deploy/" + name;
}

std::vector<std::string> words_of(const std::string& line) {
  std::istringstream stream(line);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

// `words` behind the program's name: a subcommand with flags that its help lists.
void expect_known(const std::vector<std::string>& words) {
  ASSERT_FALSE(words.empty());
  std::ostringstream out, err;
  const std::vector<std::string> help = {words[0], "--help"};
  ASSERT_EQ(run_program(help, {out, err}), 0) << err.str();
  const std::string known = out.str();
  for (const std::string& word : words) {
    if (!word.starts_with("--")) continue;
    EXPECT_TRUE(std::regex_search(known, std::regex(word + "\\b"))) << words[0] << ": " << word;
  }
}

// ---- systemd: systemd.syntax(7)

using Unit = std::map<std::string, std::multimap<std::string, std::string>>;

Unit read_unit(const std::string& path) {
  std::ifstream in(path);
  Unit unit;
  std::string section;
  const std::regex header(R"(\[(Unit|Service|Install)\])"), entry(R"(([A-Z][A-Za-z]+)=(.*))");
  for (std::string line; std::getline(in, line);) {
    std::smatch match;
    if (line.empty() || line[0] == '#' || line[0] == ';') continue;
    if (std::regex_match(line, match, header)) {
      section = match[1];
      EXPECT_FALSE(unit.contains(section)) << path << ": twice: " << line;
      unit[section];
    } else if (std::regex_match(line, match, entry)) {
      EXPECT_NE(section, "") << path << ": outside a section: " << line;
      unit[section].emplace(match[1], match[2]);
    } else {
      ADD_FAILURE() << path << ": neither section nor entry: " << line;
    }
  }
  return unit;
}

std::string value_of(const Unit& unit, const std::string& section, const std::string& key) {
  const auto found = unit.at(section).equal_range(key);
  EXPECT_EQ(std::distance(found.first, found.second), 1) << section << "." << key;
  return found.first == found.second ? "" : found.first->second;
}

TEST(Deploy, UnitsAreUnits) {
  // What these units use; systemd ignores a word that it does not know, and so would nobody notice.
  const std::map<std::string, std::set<std::string>> known = {
      {"Unit", {"Description", "After", "Wants", "StartLimitIntervalSec", "StartLimitBurst"}},
      {"Service",
       {"Type",
        "User",
        "DynamicUser",
        "StateDirectory",
        "StateDirectoryMode",
        "WorkingDirectory",
        "LoadCredential",
        "ExecStart",
        "Restart",
        "RestartSec",
        "TimeoutStopSec",
        "KillMode",
        "Nice",
        "UMask",
        "LimitNOFILE",
        "NoNewPrivileges",
        "CapabilityBoundingSet",
        "ProtectSystem",
        "ProtectHome",
        "ProtectProc",
        "ProtectClock",
        "ProtectHostname",
        "ProtectControlGroups",
        "ProtectKernelLogs",
        "ProtectKernelModules",
        "ProtectKernelTunables",
        "PrivateTmp",
        "PrivateDevices",
        "RestrictAddressFamilies",
        "RestrictNamespaces",
        "RestrictRealtime",
        "RestrictSUIDSGID",
        "LockPersonality",
        "RemoveIPC",
        "SystemCallArchitectures",
        "SystemCallFilter",
        "SystemCallErrorNumber",
        "MemoryDenyWriteExecute"}},
      {"Install", {"WantedBy"}}};
  for (const char* name : {"rubato-coordinator.service", "rubato-worker@.service"}) {
    const Unit unit = read_unit(deployed(cat("systemd/", name)));
    ASSERT_EQ(unit.size(), 3u) << name;
    for (const auto& [section, entries] : unit) {
      for (const auto& [key, value] : entries)
        EXPECT_TRUE(known.at(section).contains(key)) << name << ": " << section << "." << key;
    }
    EXPECT_EQ(value_of(unit, "Service", "NoNewPrivileges"), "yes");
    EXPECT_EQ(value_of(unit, "Service", "ProtectSystem"), "strict");
    EXPECT_EQ(value_of(unit, "Service", "CapabilityBoundingSet"), "");
    std::vector<std::string> command = words_of(value_of(unit, "Service", "ExecStart"));
    ASSERT_GT(command.size(), 1u);
    EXPECT_TRUE(command[0].ends_with("/rubato"));
    command.erase(command.begin());
    expect_known(command);
    // A socket's path has to fit: control.sock lies in a directory named from where it works.
    EXPECT_THAT(command, Contains(command[0] == "worker" ? "--dir" : "--out"));
  }
}

// ---- Kubernetes

std::map<std::string, YAML::Node> read_manifest(const std::string& name) {
  std::map<std::string, YAML::Node> by_kind;
  for (const YAML::Node& object : YAML::LoadAllFromFile(deployed(cat("kubernetes/", name)))) {
    EXPECT_TRUE(object["apiVersion"] && object["metadata"]["name"]) << name;
    EXPECT_TRUE(by_kind.emplace(object["kind"].as<std::string>(), object).second) << name;
  }
  return by_kind;
}

// What every workload must have: labels that select it, volumes for its mounts, a known command, no
// more rights than it needs.
void expect_sound(const YAML::Node& workload) {
  const YAML::Node spec = workload["spec"], pod = spec["template"];
  EXPECT_EQ(spec["replicas"].as<int>(), 1);
  for (const auto& label : spec["selector"]["matchLabels"]) {
    EXPECT_EQ(pod["metadata"]["labels"][label.first.as<std::string>()].as<std::string>(),
              label.second.as<std::string>());
  }
  EXPECT_TRUE(pod["spec"]["securityContext"]["runAsNonRoot"].as<bool>());
  std::set<std::string> volumes;
  for (const auto& volume : pod["spec"]["volumes"])
    volumes.insert(volume["name"].as<std::string>());
  for (const auto& claim : spec["volumeClaimTemplates"])
    volumes.insert(claim["metadata"]["name"].as<std::string>());
  for (const char* list : {"initContainers", "containers"}) {
    for (const auto& container : pod["spec"][list]) {
      for (const auto& mount : container["volumeMounts"])
        EXPECT_THAT(volumes, Contains(mount["name"].as<std::string>()));
      EXPECT_FALSE(container["securityContext"]["allowPrivilegeEscalation"].as<bool>());
      EXPECT_TRUE(container["securityContext"]["readOnlyRootFilesystem"].as<bool>());
    }
  }
  ASSERT_EQ(pod["spec"]["containers"].size(), 1u);
  const YAML::Node container = pod["spec"]["containers"][0];
  EXPECT_EQ(container["command"][0].as<std::string>(), "rubato");
  expect_known(container["args"].as<std::vector<std::string>>());
}

TEST(Deploy, TheCoordinatorsManifestIsSound) {
  auto objects = read_manifest("coordinator.yaml");
  ASSERT_TRUE(objects.contains("Service") && objects.contains("StatefulSet"));
  const YAML::Node set = objects["StatefulSet"], service = objects["Service"];
  expect_sound(set);
  EXPECT_EQ(set["spec"]["serviceName"].as<std::string>(),
            service["metadata"]["name"].as<std::string>());
  for (const auto& label : service["spec"]["selector"]) {
    EXPECT_EQ(set["spec"]["template"]["metadata"]["labels"][label.first.as<std::string>()]
                  .as<std::string>(),
              label.second.as<std::string>());
  }
  const YAML::Node container = set["spec"]["template"]["spec"]["containers"][0];
  std::map<std::string, int> ports;
  for (const auto& port : container["ports"])
    ports[port["name"].as<std::string>()] = port["containerPort"].as<int>();
  for (const auto& port : service["spec"]["ports"])
    EXPECT_EQ(port["port"].as<int>(), ports.at(port["targetPort"].as<std::string>()));
  const auto args = container["args"].as<std::vector<std::string>>();
  EXPECT_THAT(args, Contains(cat("0.0.0.0:", ports.at("cluster"))));
  EXPECT_THAT(args, Contains(cat("0.0.0.0:", ports.at("metrics"))));
  for (const char* probe : {"startupProbe", "livenessProbe"})
    EXPECT_EQ(container[probe]["httpGet"]["path"].as<std::string>(), "/healthz");
}

TEST(Deploy, AWorkersManifestIsSound) {
  auto objects = read_manifest("worker.yaml");
  ASSERT_TRUE(objects.contains("PriorityClass") && objects.contains("PersistentVolumeClaim") &&
              objects.contains("Deployment"));
  const YAML::Node deployment = objects["Deployment"];
  expect_sound(deployment);
  // Two pods with one key would replace each other.
  EXPECT_EQ(deployment["spec"]["strategy"]["type"].as<std::string>(), "Recreate");
  const YAML::Node pod = deployment["spec"]["template"]["spec"];
  EXPECT_EQ(pod["priorityClassName"].as<std::string>(),
            objects["PriorityClass"]["metadata"]["name"].as<std::string>());
  EXPECT_LT(objects["PriorityClass"]["value"].as<int>(), 0);
  // The string comes from a Secret's file, and its file is where the command looks.
  std::string mounted;
  for (const auto& volume : pod["volumes"]) {
    if (volume["persistentVolumeClaim"]) {
      EXPECT_EQ(volume["persistentVolumeClaim"]["claimName"].as<std::string>(),
                objects["PersistentVolumeClaim"]["metadata"]["name"].as<std::string>());
    }
    if (volume["secret"]) mounted = volume["name"].as<std::string>();
  }
  const auto args = pod["containers"][0]["args"].as<std::vector<std::string>>();
  for (const auto& mount : pod["containers"][0]["volumeMounts"]) {
    if (mount["name"].as<std::string>() != mounted) continue;
    EXPECT_THAT(args, Contains(mount["mountPath"].as<std::string>() + "/join"));
  }
  EXPECT_NE(mounted, "");
}

// ---- Slurm, and what the page says

TEST(Deploy, TheBatchScriptIsOne) {
  const std::string path = deployed("slurm/rubato-workers.sbatch");
  EXPECT_EQ(std::system(cat("bash -n '", path, "'").c_str()), 0);
  std::istringstream lines(contents(path));
  bool commands_began = false, ran = false;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("#SBATCH")) {
      // Slurm stops reading them at the first command.
      EXPECT_FALSE(commands_began) << line;
      EXPECT_TRUE(std::regex_match(line, std::regex("#SBATCH --[a-z-]+(=\\S+)?"))) << line;
    } else if (!line.empty() && line[0] != '#') {
      commands_began = true;
    }
    if (line.starts_with("exec rubato ")) {
      ran = true;
      std::vector<std::string> words = words_of(line);
      words.erase(words.begin(), words.begin() + 2);
      expect_known(words);
    }
  }
  EXPECT_TRUE(ran);
}

TEST(Deploy, ThePagesCommandsAreKnown) {
  std::istringstream lines(contents(std::string(RUBATO_SOURCE_DIR) + "/docs/operating.md"));
  bool inside = false;
  int commands = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("```")) inside = line == "```sh";
    const size_t at = line.starts_with("rubato ") ? 0 : line.find("-- rubato ");
    if (!inside || at == std::string::npos) continue;
    std::vector<std::string> words =
        words_of(line.substr(line.find("rubato ", at), line.find('#')));
    words.erase(words.begin());
    expect_known(words);
    ++commands;
  }
  EXPECT_GE(commands, 12);
}

// Every event that the program logs has its row, and every row is an event.
TEST(Deploy, ThePageListsEveryEventOfTheLog) {
  std::set<std::string> logged, listed;
  const std::regex event(R"re(\.event = "(\w+)")re"),
      row(R"(\| `(\w+)` \| (coordinator|worker|both).*)");
  for (const char* room : {"rpc", "app"}) {
    for (const auto& file : std::filesystem::directory_iterator(std::string(RUBATO_SOURCE_DIR) +
                                                                "/src/rubato/" + room)) {
      const std::string text = contents(file.path());
      for (std::sregex_iterator it(text.begin(), text.end(), event), end; it != end; ++it)
        logged.insert((*it)[1]);
    }
  }
  std::istringstream lines(contents(std::string(RUBATO_SOURCE_DIR) + "/docs/operating.md"));
  for (std::string line; std::getline(lines, line);) {
    std::smatch match;
    if (std::regex_match(line, match, row)) listed.insert(match[1]);
  }
  EXPECT_EQ(listed, logged);
}

}  // namespace
}  // namespace rubato
