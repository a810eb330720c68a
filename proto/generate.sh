#!/usr/bin/env bash
# Regenerates the Swift of proto/: messages into Sources/Wire/Generated, services into Sources/WireRPC/Generated.
# Needs protoc 3.21 or newer; builds the two plugins in a scratch package (about a minute, once).
# PETREL_PROTOC_PLUGINS names a folder that already holds them.
set -euo pipefail
cd "$(dirname "$0")/.."
plugins=${PETREL_PROTOC_PLUGINS:-}
if [ -z "$plugins" ]; then
    scratch=.build-protoc
    mkdir -p "$scratch/Sources/Plugins"
    : > "$scratch/Sources/Plugins/Plugins.swift"
    cat > "$scratch/Package.swift" <<'MANIFEST'
// swift-tools-version: 6.2
import PackageDescription
let package = Package(
    name: "protoc-plugins",
    dependencies: [
        .package(url: "https://github.com/apple/swift-protobuf.git", from: "1.39.0", traits: []),
        .package(url: "https://github.com/grpc/grpc-swift-protobuf.git", from: "2.4.1"),
    ],
    targets: [
        .target(
            name: "Plugins",
            dependencies: [.product(name: "GRPCProtobuf", package: "grpc-swift-protobuf")])
    ])
MANIFEST
    swift build --package-path "$scratch" -c release --product protoc-gen-swift
    swift build --package-path "$scratch" -c release --product protoc-gen-grpc-swift-2
    plugins=$scratch/.build/release
fi
mkdir -p Sources/Wire/Generated Sources/WireRPC/Generated
rm -f Sources/Wire/Generated/*.swift Sources/WireRPC/Generated/*.swift
protoc -I proto --plugin="$plugins/protoc-gen-swift" --plugin="$plugins/protoc-gen-grpc-swift-2" \
    --swift_out=Sources/Wire/Generated \
    --swift_opt=Visibility=Package,FileNaming=DropPath,UseAccessLevelOnImports=true \
    --grpc-swift-2_out=Sources/WireRPC/Generated \
    --grpc-swift-2_opt=Visibility=Package,Server=true,Client=true,FileNaming=DropPath,UseAccessLevelOnImports=true \
    --grpc-swift-2_opt=ExtraModuleImports=Wire \
    proto/petrel/fleet/v1/*.proto
