# One image for every part; the command selects the part. Built in stages, so that npm and caches are left out.
FROM node:24-bookworm-slim AS build
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
RUN npm ci --omit=dev
COPY packages packages
COPY services services
COPY gateway gateway
COPY launcher launcher
COPY migrations migrations

FROM node:24-bookworm-slim
ENV NODE_ENV=production
# Tools run in the full kernel sandbox, or nothing starts; Perl, which sets it up, is part of the image.
ENV TOOLS_SANDBOX=require
WORKDIR /app
COPY --from=build --chown=root:root /app /app
RUN mkdir -p /data && chown node:node /data
ENV TURNWRIGHT_DATA_DIR=/data
USER node
EXPOSE 8080 9101 9102 9103 9104
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 CMD ["node", "packages/platform/tools/healthcheck.ts"]
CMD ["node", "launcher/src/main.ts"]
