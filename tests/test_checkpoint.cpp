// What a run leaves on disk, damaged, mistaken for another, or written to a full disk.
#include "test.h"

#include <cmath>
#include <filesystem>
#include <string>

#include <nlohmann/json.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include "formats/fingerprint.h"
#include "model/checkpoint.h"
#include "model/weights.h"
#include "model_folders.h"
#include "support/files.h"

using namespace skintern;

namespace {

LoraConfig small_lora() {
    LoraConfig lora;
    lora.r = 3;
    lora.alpha = 6;
    return lora;
}

// A base, an adapter of it, and a way to change one thing in the adapter.
struct Adapter {
    TempFolder folder;
    const std::string base = folder / "base", adapter = folder / "adapter";
    const std::string config_path = adapter + "/adapter_config.json";
    const std::string tensors_path = adapter + "/adapter_model.safetensors";
    Adapter() {
        make_model(base, tiny_config(), 1);
        make_adapter(adapter, base, small_lora());
    }
    // The sentence of the refusal, "" when the adapter loads onto `onto`.
    std::string refusal(const std::string& onto) const {
        return error_of([&] {
            const auto kernels = make_kernels({});
            const auto model = load_model(*kernels, onto, Train::nothing, open_adapter(adapter, open_model_file(onto).config));
            load_adapter(adapter, *model);
        });
    }
    void set(const char* field, const nlohmann::json& value) const {
        nlohmann::json root = nlohmann::json::parse(read_file(config_path));
        root[field] = value;
        put_file(config_path, root.dump());
    }
    template <class Change>
    void change_tensors(Change change) const {
        HostTensors tensors = read_safetensors(tensors_path);
        const std::map<std::string, std::string> metadata = read_metadata(tensors_path);
        change(tensors);
        write_safetensors(tensors_path, tensors, "F32", metadata);
    }
};

const char* const kB = "base_model.model.model.layers.1.mlp.up_proj.lora_B.weight";
const char* const kA = "base_model.model.model.layers.1.mlp.up_proj.lora_A.weight";

} // namespace

// ---- adapters ----------------------------------------------------------------------------------------------------

TEST_CASE("an adapter of another rank than its config says is refused before room is made for it",
          "[checkpoint]") {
    const Adapter a;
    REQUIRE(a.refusal(a.base) == "");
    a.set("r", 4);
    REQUIRE(a.refusal(a.base) ==
            a.tensors_path + ": tensor base_model.model.model.layers.0.mlp.down_proj.lora_A.weight has shape "
                             "[3,20], but adapter_config.json says r 4");
    a.set("r", 1 << 20);
    REQUIRE_THAT(a.refusal(a.base), Contains("adapter_config.json says r 1048576"));
    // Also when no tensor contradicts.
    a.change_tensors([](HostTensors& tensors) { tensors.clear(); });
    REQUIRE(a.refusal(a.base) ==
            a.tensors_path + ": holds no lora_A of rank 1048576, which adapter_config.json asks for");
}

TEST_CASE("an adapter whose tensors are smaller than its settings ask is refused before room is made for it", "[checkpoint]") {
    const Adapter a;
    a.set("r", 1 << 20);
    a.change_tensors([](HostTensors& tensors) {
        for (auto& [name, tensor] : tensors) { // of that rank, and of no width
            tensor.shape = name.ends_with("lora_A.weight") ? std::vector<int64_t>{1 << 20, 0} : std::vector<int64_t>{0, 1 << 20};
            tensor.data.clear();
        }
    });
    REQUIRE_THAT(a.refusal(a.base), StartsWith(a.tensors_path + ": tensor ") && Contains("has shape [1048576,0], in an adapter of this model"));
}

TEST_CASE("a rank of its own is checked against that layer's tensors", "[checkpoint]") {
    const TempFolder folder;
    make_model(folder / "base", tiny_config(), 1);
    LoraConfig lora = small_lora();
    lora.rank_pattern = {{"layers.1.mlp.up_proj", 5}};
    make_adapter(folder / "adapter", folder / "base", lora);
    REQUIRE(open_adapter(folder / "adapter", tiny_config()).rank_pattern == lora.rank_pattern);
    nlohmann::json root = nlohmann::json::parse(read_file(folder / "adapter/adapter_config.json"));
    root["rank_pattern"]["layers.1.mlp.up_proj"] = 2;
    put_file(folder / "adapter/adapter_config.json", root.dump());
    REQUIRE_THAT(error_of([&] { open_adapter(folder / "adapter", tiny_config()); }), Contains(kA) && Contains("says r 2"));
}

TEST_CASE("an adapter with a tensor too few, too many, of another shape or not finite is refused",
          "[checkpoint]") {
    const auto refusal_of = [](auto change) {
        const Adapter a;
        a.change_tensors(change);
        const std::string refusal = a.refusal(a.base);
        REQUIRE_THAT(refusal, StartsWith(a.tensors_path + ": tensor "));
        return refusal.substr(a.tensors_path.size() + 2);
    };
    REQUIRE(refusal_of([](HostTensors& t) { t.erase(kB); }) == std::string("tensor ") + kB + " is missing");
    REQUIRE(refusal_of([](HostTensors& t) { t.erase(kA); }) == std::string("tensor ") + kA + " is missing");
    REQUIRE_THAT(refusal_of([](HostTensors& t) { t["base_model.model.lm_head.lora_A.weight"] = t.at(kA); }),
                 Contains("lm_head.lora_A.weight is not part of this model"));
    REQUIRE_THAT(refusal_of([](HostTensors& t) { t.at(kB).shape = {3, 20}; }), Contains("has shape [3,20]"));
    REQUIRE_THAT(refusal_of([](HostTensors& t) { t.at(kB).data[5] = NAN; }), Contains("not finite"));
    REQUIRE_THAT(refusal_of([](HostTensors& t) { t.at(kA).data[5] = INFINITY; }), Contains("not finite"));
}

TEST_CASE("an adapter for modules that are not there, or with alpha 0, is refused", "[checkpoint]") {
    const Adapter a;
    a.set("target_modules", {"q_proj", "c_attn"});
    REQUIRE(a.refusal(a.base) ==
            a.config_path + ": target_modules has c_attn, which is no linear layer of the decoder");
    a.set("target_modules", {"q_proj", "model.layers.7.mlp.up_proj"});
    REQUIRE(a.refusal(a.base) == a.config_path + ": target_modules has model.layers.7.mlp.up_proj, which is no layer of this model");
    a.set("target_modules", {"q_proj"});
    a.set("layers_to_transform", {7});
    REQUIRE_THAT(a.refusal(a.base), StartsWith(a.config_path + ": layers_to_transform has 7, the model has "));
    a.set("layers_to_transform", nullptr);
    a.set("lora_alpha", 1e300);
    REQUIRE_THAT(a.refusal(a.base), Contains("lora_alpha is 1e+300, must be a positive number that F32 has"));
    a.set("lora_alpha", 0);
    REQUIRE(a.refusal(a.base) == a.config_path + ": lora_alpha is 0, must be a positive number that F32 has");
}

TEST_CASE("an adapter is refused on another base, and loads without a mark", "[checkpoint]") {
    const Adapter a;
    make_model(a.folder / "other", tiny_config(), 2);
    REQUIRE(a.refusal(a.folder / "other") ==
            a.tensors_path +
                ": was trained on another base model (the weights' fingerprint in its metadata differs)");
    make_model(a.folder / "bf16", tiny_config(), 1, "BF16"); // a rounded copy
    REQUIRE(a.refusal(a.folder / "bf16") == "");
    // PEFT leaves no mark.
    write_safetensors(a.tensors_path, read_safetensors(a.tensors_path), "F32", {{"format", "pt"}});
    REQUIRE(a.refusal(a.folder / "other") == "");
}

TEST_CASE("a fingerprint tells names, shapes, vectors and matrices apart", "[checkpoint]") {
    const TempFolder folder;
    make_model(folder / "base", tiny_config(), 1);
    const std::string path = folder / "base/model.safetensors";
    const HostTensors tensors = read_safetensors(path);
    const Fingerprint base = fingerprint(map_safetensors(path));
    REQUIRE(base.vectors.size() == 16);
    REQUIRE(base.matrices.size() == 16);
    REQUIRE(may_be_equal(base, fingerprint(map_safetensors(path))));
    const auto changed = [&](auto change, const std::string& dtype = "F32") {
        HostTensors other = tensors;
        change(other);
        write_safetensors(folder / "x.safetensors", other, dtype);
        return fingerprint(map_safetensors(folder / "x.safetensors"));
    };
    const Fingerprint norm = changed([](HostTensors& t) { t.at("model.norm.weight").data[15] += 0.01f; });
    REQUIRE(norm.vectors != base.vectors);
    REQUIRE(norm.matrices == base.matrices);
    const Fingerprint matrix = changed([](HostTensors& t) {
        for (float& x : t.at("lm_head.weight").data) {
            x += 0.01f;
        }
    });
    REQUIRE(matrix.vectors == base.vectors);
    REQUIRE(matrix.matrices != base.matrices);
    REQUIRE_FALSE(may_be_equal(base, norm));
    REQUIRE_FALSE(may_be_equal(base, matrix));
    const Fingerprint renamed = changed([](HostTensors& t) {
        t["lm_hand.weight"] = t.at("lm_head.weight");
        t.erase("lm_head.weight");
    });
    REQUIRE_FALSE(may_be_equal(base, renamed));
    // Not all matrices are F32 or BF16: only the vectors count.
    REQUIRE(changed([](HostTensors&) {}, "F16").matrices == "");
    REQUIRE(may_be_equal(base, {base.vectors, ""}));
    REQUIRE(may_be_equal(base, {"", ""}));
    REQUIRE(fingerprint({}).vectors == "");
}

// ---- the state of a run ------------------------------------------------------------------------------------------

namespace {

// A model of `base` with its adapter and optimizer, and a state of it on disk.
struct Run {
    std::unique_ptr<Kernels> kernels = make_kernels({});
    std::unique_ptr<Transformer> model;
    std::unique_ptr<Adamw> adamw;
    Run(const std::string& base, const LoraConfig& lora) {
        model = load_model(*kernels, base, Train::adapter, lora);
        Rng rng(3);
        model->init_adapter(rng);
        adamw = std::make_unique<Adamw>(AdamwConfig{}, model->adapter(), model->grads());
    }
    std::string load(const std::string& path) {
        return error_of([&] { load_state(path, *model, *adamw); });
    }
};

} // namespace

TEST_CASE("a state that was cut anywhere is refused with one sentence", "[checkpoint]") {
    const TempFolder folder;
    make_model(folder / "base", tiny_config(), 1);
    Run run(folder / "base", small_lora());
    const std::string path = folder / "state.safetensors";
    save_state(path, *run.model, *run.adamw, {2, 5, 17, 1234});
    const TrainPosition back = load_state(path, *run.model, *run.adamw);
    REQUIRE(back.stage == 2);
    REQUIRE(back.update == 5);
    REQUIRE(back.step == 17);
    REQUIRE(back.tokens == 1234);
    const std::string whole = read_file(path);
    for (size_t size = 0; size < whole.size(); size += size < 200 ? 1 : 997) {
        put_file(path, whole.substr(0, size));
        INFO("cut to " << size << " bytes");
        const std::string refusal = run.load(path);
        REQUIRE_THAT(refusal, StartsWith(path + ": "));
        REQUIRE(refusal.find('\n') == std::string::npos);
    }
}

TEST_CASE("a state of another adapter, another base or another version is refused", "[checkpoint]") {
    const TempFolder folder;
    make_model(folder / "base", tiny_config(), 1);
    make_model(folder / "other", tiny_config(), 2);
    Run run(folder / "base", small_lora());
    const std::string path = folder / "state.safetensors";
    save_state(path, *run.model, *run.adamw, {});
    REQUIRE(run.load(path) == "");

    LoraConfig lora = small_lora();
    lora.alpha = 12;
    REQUIRE(Run(folder / "base", lora).load(path) ==
            path + ": holds an adapter with r 3, alpha 6, this run's has r 3, alpha 12");
    lora = small_lora();
    lora.use_rslora = true;
    REQUIRE_THAT(Run(folder / "base", lora).load(path), Contains("this run's has r 3, alpha 6, rslora"));
    lora = small_lora();
    lora.r = 2;
    REQUIRE_THAT(Run(folder / "base", lora).load(path), Contains("this run's has r 2"));
    lora = small_lora();
    lora.target_modules = {"q_proj"};
    REQUIRE_THAT(Run(folder / "base", lora).load(path), Contains("is not part of this model"));
    REQUIRE_THAT(Run(folder / "other", small_lora()).load(path),
                 Contains("was trained on another base model"));

    HostTensors tensors = read_safetensors(path);
    tensors.at("position") = {{4, 3}, std::vector<float>(12, 1)};
    write_safetensors(path, tensors);
    REQUIRE(run.load(path) ==
            path + ": tensor position has shape [4,3], this version of the program writes [5,3]: the "
                   "state is of another version");
    tensors.erase("position");
    write_safetensors(path, tensors);
    REQUIRE(run.load(path) == path + ": not a training state (tensor position is missing)");
}

TEST_CASE("on a full disk the old state and the old adapter stay whole", "[checkpoint]") {
    const TempFolder folder;
    make_model(folder / "base", tiny_config(), 1);
    Run run(folder / "base", small_lora());
    const std::string path = folder / "state.safetensors", adapter = folder / "adapter";
    save_state(path, *run.model, *run.adamw, {});
    save_adapter(adapter, *run.model, small_lora(), "base");
    const std::string old_state = read_file(path),
                      old_adapter = read_file(adapter + "/adapter_model.safetensors");
    shake(run.model->adapter(), 5);
    std::string state_refusal, adapter_refusal;
    {
        const SmallDisk disk(3000);
        state_refusal = error_of([&] { save_state(path, *run.model, *run.adamw, {}); });
        adapter_refusal = error_of([&] { save_adapter(adapter, *run.model, small_lora(), "base"); });
    }
    REQUIRE_THAT(state_refusal, StartsWith(path + ": cannot be written: File too large"));
    REQUIRE_THAT(adapter_refusal, Contains("adapter_model.safetensors: cannot be written: File too large"));
    REQUIRE(read_file(path) == old_state);
    REQUIRE(read_file(adapter + "/adapter_model.safetensors") == old_adapter);
    REQUIRE(folder.files() == 3); // base, state, adapter: no temporary file
}

TEST_CASE("a folder that cannot be written to is named", "[checkpoint]") {
    if (::geteuid() == 0) {
        std::printf(
            "skipped: an adapter into a folder without write permission (root may write everywhere)\n");
        return;
    }
    const TempFolder folder;
    make_model(folder / "base", tiny_config(), 1);
    Run run(folder / "base", small_lora());
    const std::string closed = folder / "closed";
    make_folder(closed);
    ::chmod(closed.c_str(), 0555);
    const std::string adapter_refusal =
        error_of([&] { save_adapter(closed, *run.model, small_lora(), "base"); });
    const std::string state_refusal =
        error_of([&] { save_state(closed + "/state.safetensors", *run.model, *run.adamw, {}); });
    ::chmod(closed.c_str(), 0755);
    REQUIRE_THAT(adapter_refusal,
                 StartsWith(closed + ": the folder cannot be written to: Permission denied"));
    REQUIRE_THAT(state_refusal, Contains("state.safetensors: cannot be written: Permission denied"));
}
