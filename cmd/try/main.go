package main
import ("fmt";"os";"time";"strconv"
"github.com/connprof/connprof/run";"github.com/connprof/connprof/load";"github.com/connprof/connprof/account")
func main(){
 load.WorkerMain()
 t:=time.Now()
 n,_:=strconv.Atoi(os.Args[1])
 np := len(os.Args)>2 && os.Args[2]=="np"
 rec,err:=run.Run(run.Options{IPs:20,Ports:1,Conns:n,AllowMemory:80,Started:t,NoProfile:np,Hooked:func(h []account.Hook){fmt.Fprintln(os.Stderr,h, time.Since(t))}})
 fmt.Fprintln(os.Stderr,"err:",err, time.Since(t))
 if rec!=nil { rec.Write(os.Stdout)}
}
