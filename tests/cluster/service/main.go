// The inference server of the cluster tests: one static program that behaves as a file of its model says.
//
// /opt/model/behaviour holds one word: good; unhealthy and undecided (what /health answers as status); unmeasurable
// (/health answers 503); crash (exits at start); never-ready (/ready answers 503 for ever).
package main

import (
	"context"
	"encoding/json"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

const behaviourFile = "/opt/model/behaviour"

func answer(w http.ResponseWriter, code int, fields map[string]string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(fields)
}

func handler(behaviour string) http.Handler {
	version := os.Getenv("MODEL_VERSION")
	mux := http.NewServeMux()
	mux.HandleFunc("/health", func(w http.ResponseWriter, _ *http.Request) {
		code, status := http.StatusOK, "ok"
		switch behaviour {
		case "unhealthy", "undecided":
			status = behaviour
		case "unmeasurable":
			code = http.StatusServiceUnavailable
		}
		answer(w, code, map[string]string{"status": status, "model_version": version})
	})
	mux.HandleFunc("/ready", func(w http.ResponseWriter, _ *http.Request) {
		if behaviour == "never-ready" {
			answer(w, http.StatusServiceUnavailable, map[string]string{"ready": "no"})
			return
		}
		answer(w, http.StatusOK, map[string]string{"ready": "yes"})
	})
	mux.HandleFunc("/predict", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]string{"model_version": version})
	})
	return mux
}

func main() {
	content, err := os.ReadFile(behaviourFile)
	if err != nil {
		log.Fatal(err)
	}
	behaviour := strings.TrimSpace(string(content))
	if behaviour == "crash" {
		log.Fatal("the model can't be loaded")
	}
	server := &http.Server{Addr: ":" + os.Getenv("PORT"), Handler: handler(behaviour)}
	asked, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	finished := make(chan struct{})
	go func() {
		<-asked.Done()
		deadline, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		server.Shutdown(deadline)
		close(finished)
	}()
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		log.Fatal(err)
	}
	<-finished
}
