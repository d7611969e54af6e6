module linktree-webhook-operator/tools/pause

go 1.26.0
